import sys

# pytest rewrites the asserts of 260 modules, which takes 10 s of CPU time. Where PYTHONDONTWRITEBYTECODE is
# set, every worker of every run would do so anew.
sys.dont_write_bytecode = False
