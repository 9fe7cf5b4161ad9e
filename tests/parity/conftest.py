"""The parity tests need an interpreter that has the peers; without one they are not collected."""

import os

from peer import INTERPRETER_VARIABLE

collect_ignore_glob = [] if os.environ.get(INTERPRETER_VARIABLE) else ["*"]
