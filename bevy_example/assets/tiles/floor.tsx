<?xml version="1.0" encoding="UTF-8"?>
<tileset version="1.10" name="stone floor" tilewidth="32" tileheight="32" tilecount="1" columns="1">
 <image source="floor.png" width="32" height="32" />
</tileset>
