"""The FILE output: a rendered file, with the commands that check it and make a program use it."""
