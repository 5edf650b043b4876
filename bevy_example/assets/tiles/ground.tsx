<?xml version="1.0" encoding="UTF-8"?>
<tileset version="1.10" name="grass water" tilewidth="32" tileheight="32" tilecount="16" columns="4">
 <image source="ground.png" width="128" height="128" />
 <wangsets>
  <wangset name="grass water" type="corner" tile="-1">
   <wangcolor name="grass" color="#4f8d37" tile="15" probability="1" />
   <wangcolor name="water" color="#2b4e9f" tile="0" probability="1" />
   <wangtile tileid="0" wangid="0,2,0,2,0,2,0,2" />
   <wangtile tileid="1" wangid="0,2,0,2,0,2,0,1" />
   <wangtile tileid="2" wangid="0,1,0,2,0,2,0,2" />
   <wangtile tileid="3" wangid="0,1,0,2,0,2,0,1" />
   <wangtile tileid="4" wangid="0,2,0,2,0,1,0,2" />
   <wangtile tileid="5" wangid="0,2,0,2,0,1,0,1" />
   <wangtile tileid="6" wangid="0,1,0,2,0,1,0,2" />
   <wangtile tileid="7" wangid="0,1,0,2,0,1,0,1" />
   <wangtile tileid="8" wangid="0,2,0,1,0,2,0,2" />
   <wangtile tileid="9" wangid="0,2,0,1,0,2,0,1" />
   <wangtile tileid="10" wangid="0,1,0,1,0,2,0,2" />
   <wangtile tileid="11" wangid="0,1,0,1,0,2,0,1" />
   <wangtile tileid="12" wangid="0,2,0,1,0,1,0,2" />
   <wangtile tileid="13" wangid="0,2,0,1,0,1,0,1" />
   <wangtile tileid="14" wangid="0,1,0,1,0,1,0,2" />
   <wangtile tileid="15" wangid="0,1,0,1,0,1,0,1" />
  </wangset>
 </wangsets>
</tileset>
