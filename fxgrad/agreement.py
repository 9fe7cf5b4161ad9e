"""Whether all processes of a run are about to do the same. Nothing is asked in a run of one."""
