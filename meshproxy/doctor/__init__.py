"""What is wrong with a machine and a config, found before anybody meets it: one module for each kind of finding."""
