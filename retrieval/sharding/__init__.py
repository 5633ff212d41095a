"""An index in shards: ERS indexes in threads, processes or on other machines, searched as one."""
