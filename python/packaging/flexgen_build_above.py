"""The build backend for whoever installs python/ in place of the checkout: the same, one folder up."""
import os

os.chdir(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from flexgen_build import *  # noqa: E402,F401,F403
