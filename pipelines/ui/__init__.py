"""User-interface kits: pieces that stretch by nine patches, cursors, and a pixel font. Imports no torch."""
