"""The names of `zmq` that never wait, the same in every namespace: constants, errors, versions, submodules.

They are imported one by one or by their modules, because ``from zmq import *`` would also bring the names that wait,
and type checkers cannot remove those. Names that a later pyzmq adds are found by the ``__getattr__`` of the namespaces.
"""

from __future__ import annotations

from zmq import COPY_THRESHOLD as COPY_THRESHOLD
from zmq import DRAFT_API as DRAFT_API
from zmq import IPC_PATH_MAX_LEN as IPC_PATH_MAX_LEN
from zmq import Stopwatch as Stopwatch
from zmq import backend as backend
from zmq import constants as constants
from zmq import curve_keypair as curve_keypair
from zmq import curve_public as curve_public
from zmq import error as error
from zmq import get_includes as get_includes
from zmq import get_library_dirs as get_library_dirs
from zmq import has as has
from zmq import strerror as strerror
from zmq import sugar as sugar
from zmq import utils as utils
from zmq import zmq_errno as zmq_errno
from zmq.constants import *  # noqa: F403
from zmq.error import *  # noqa: F403
from zmq.sugar.version import *  # noqa: F403

from .sockets.tracker import Frame as Frame
from .sockets.tracker import Frame as Message  # noqa: F401
from .sockets.tracker import MessageTracker as MessageTracker

try:
    from zmq import PYZMQ_DRAFT_API as PYZMQ_DRAFT_API
except ImportError:  # pyzmq 26
    pass
