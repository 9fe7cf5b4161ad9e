"""Many devices and many processes: one mesh, sharding by parameter path, one program for all."""
