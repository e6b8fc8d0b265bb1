"""pyzmq's decorators with green contexts and sockets.

>>> import greenzmq as zmq
>>> from greenzmq.decorators import context, socket  # or: from greenzmq.gevent.decorators import …
>>> @context()
... @socket(zmq.PUSH)
... def work(ctx, push):
...     return push.type.name
>>> work()
'PUSH'
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from zmq.decorators import _ContextDecorator, _SocketDecorator

from .sockets.context import Context
from .sockets.plain import PlainContext

__all__ = ["context", "socket"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Decorators:
    """`zmq.decorators` for one namespace.

    Parameters
    ----------
    context_class : type
        The namespace's `Context`.
    """

    def __init__(self, context_class: type[Context]) -> None:
        self._context_class = context_class

    def context(self, *args: Any, **kwargs: Any) -> Callable[[Decorated], Decorated]:
        """Pass a new context to the function; see `zmq.decorators.context`. The context ends with the call.

        Notes
        -----
        Switches: the decorated function does at its end, if the end of the context has to wait.
        """
        return _GreenContext(self._context_class)(*args, **kwargs)

    def socket(self, *args: Any, **kwargs: Any) -> Callable[[Decorated], Decorated]:
        """Pass a new socket to the function; see `zmq.decorators.socket`. The socket is closed when the call ends.

        It is made in the context that is among the function's arguments. If there is none, it is made in
        ``Context.instance()`` of the namespace.
        """
        return _GreenSocket(self._context_class)(*args, **kwargs)


class _GreenContext(_ContextDecorator):
    def __init__(self, context_class: type[Context]) -> None:
        super().__init__()
        self._target = context_class


class _GreenSocket(_SocketDecorator):
    def __init__(self, context_class: type[Context]) -> None:
        super().__init__()
        self._context_class = context_class

    def _get_context(self, *args: Any, **kwargs: Any) -> PlainContext[Any]:
        for given in (kwargs.get(self.context_name), *args):
            if isinstance(given, PlainContext):
                return given
        return self._context_class.instance()


_decorators = Decorators(Context)
context = _decorators.context
socket = _decorators.socket


def for_namespace(namespace: ModuleType) -> ModuleType:
    """Make the module `decorators` of one of greenzmq's namespaces."""
    module = ModuleType(f"{namespace.__name__}.decorators", __doc__)
    made = Decorators(namespace.Context)
    vars(module).update(context=made.context, socket=made.socket, __all__=["context", "socket"])
    return module
