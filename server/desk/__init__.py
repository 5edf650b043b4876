"""What the studio asks for, in this process or over HTTP."""
