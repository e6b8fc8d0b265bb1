/* The lock of a socket that native threads share, and the sleep of a thread that alone waits on it.

   Fact: who holds the GIL holds a lock of the process. Consequence: a call of libzmq under ZMQ_DONTWAIT that is made
   with the GIL held needs no other lock, as long as nobody else is in the middle of an operation for which the GIL was
   released. Those hold the `SharedLock`, a reentrant lock. So a call of the fast path looks only whether it is free.

   Fact: a thread whose hub has nothing else to do can sleep in poll(2) itself, on the socket's ZMQ_FD and on what the
   hub would sleep on. That spares it the switch to the hub, a `Waiter`, and the queue: two thirds of a wait. Until it
   is awake again it stands in `SharedLock.sleeper`. Whoever takes the lock meanwhile, to wait or receive, to look at
   EVENTS or to close the socket, first *admits* the sleeper: it puts a `Waiter` for that thread into the queue, from
   where on all goes as for any other waiter, and wakes the thread. So what holds the lock never sees a sleeper.

   Fact: of two threads that answer each other, the one that is woken wants the GIL while the other still has it. Each
   such meeting costs a sleep more. So the sleeper takes the lock and receives before it asks for the GIL; and a thread
   that takes turns with another one sends, and makes its first attempt to receive, without the GIL as well. */

#include "_fastpath.h"

#include <poll.h>
#include <structmember.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/epoll.h>
#endif

#define EVENTS 15  /* ZMQ_EVENTS */
#define SENDABLE 2 /* ZMQ_POLLOUT */

#ifdef __APPLE__
#define PYTHONS_MONOTONIC CLOCK_UPTIME_RAW /* what `time.monotonic` reads */
#else
#define PYTHONS_MONOTONIC CLOCK_MONOTONIC
#endif

static PyTypeObject Sleeper_Type;

/* --- the lock ----------------------------------------------------------------------------------------------------- */

struct Sleeper {
    PyObject_HEAD
    SharedLock *lock;
    PyObject *hub;    /* a weak reference to the thread's hub */
    PyObject *party;  /* and to its greenlet that may sleep */
    PyObject *check;  /* has to return true, too; None */
    PyObject *busy;   /* what has to be empty: a tuple of the hub's collections */
    PyObject *socket; /* while it sleeps, or waits in the queue */
    PyObject *waiter; /* the `Waiter` that was admitted in its place; None */
    long way;         /* 0 to receive, 1 to send */
    int fd, hub_fd;   /* ZMQ_FD, and what the hub sleeps on */
    int epoll;        /* an epoll with these two, which costs less than to give them to poll(2) each time; or -1 */
    double since;     /* when the sleep began, as `time.monotonic` counts */
    int spoiled;      /* something else than the socket has ended the last sleep */
    int promised;     /* EVENTS has just said that there is room, and nobody has slept since */
    Message message;  /* what a sleep to receive has received */
    void *address;    /* and from which libzmq socket */
    int slept;        /* and whether only after a sleep */
};

/* Whether it sleeps, or somebody has been admitted in its place. */
static int is_waiting(Sleeper *self) {
    return self->waiter != Py_None || self->lock->sleeper == self;
}

void *free_address(PyObject *object) {
    SharedLock *lock = (SharedLock *)object;
    if (!Py_IS_TYPE(object, &SharedLock_Type) || lock->held || lock->sleeper != NULL) return NULL;
    lock->calls++;
    return lock->address;
}

/* Take a lock that is free, and nobody sleeps; or 0, without a wait. */
static int try_hold(SharedLock *lock) {
    if (lock->held || !PyThread_acquire_lock(lock->lock, NOWAIT_LOCK)) return 0;
    lock->owner = PyThread_get_thread_ident();
    lock->held = 1;
    lock->calls++;
    return 1;
}

void let_go(SharedLock *lock) {
    if (--lock->held == 0) PyThread_release_lock(lock->lock);
}

static int is_owned(SharedLock *self) {
    return self->held && self->owner == PyThread_get_thread_ident();
}

static PyObject *lock_release(SharedLock *self, PyObject *Py_UNUSED(args)) {
    if (!is_owned(self)) {
        PyErr_SetString(PyExc_RuntimeError, "cannot release un-acquired lock");
        return NULL;
    }
    let_go(self);
    Py_RETURN_NONE;
}

#if PY_VERSION_HEX >= 0x030D0000
#define IS_FINALIZING Py_IsFinalizing()
#else
#define IS_FINALIZING _Py_IsFinalizing()
#endif
#define PATIENCE_AT_EXIT 100000 /* microseconds, for what others do without the GIL: an attempt, or a copy */

/* Take the lock from a thread that has it no more: at the exit of the interpreter such a one ends where it asks for the
   GIL, or waits for ever, and lets nothing go. No other thread runs Python code then. */
static void take_over(SharedLock *self) {
    PyThread_acquire_lock_timed(self->lock, PATIENCE_AT_EXIT, 0);
    self->owner = PyThread_get_thread_ident();
    self->held = 1;
    self->calls++;
}

/* Take the lock, and wait for it as `threading.RLock` does. -1 if a signal handler has raised. */
static int take(SharedLock *self) {
    if (is_owned(self)) {
        self->held++;
        self->calls++;
        return 0;
    }
    while (!try_hold(self)) { /* without the GIL somebody else may be faster */
        PyLockStatus status;
        if (IS_FINALIZING) {
            take_over(self);
            return 0;
        }
        Py_BEGIN_ALLOW_THREADS
        status = PyThread_acquire_lock_timed(self->lock, -1, 1);
        Py_END_ALLOW_THREADS
        if (status == PY_LOCK_ACQUIRED) PyThread_release_lock(self->lock);
        if (status == PY_LOCK_INTR && Py_MakePendingCalls() < 0) return -1;
    }
    return 0;
}

static PyObject *lock_acquire(SharedLock *self, PyObject *Py_UNUSED(args)) {
    if (take(self) < 0) return NULL;
    if (self->sleeper == NULL || self->held > 1) Py_RETURN_TRUE;
    PyObject *sleeper = Py_NewRef((PyObject *)self->sleeper);
    PyObject *admitted = PyObject_CallOneArg(self->admit, sleeper);
    Py_DECREF(sleeper);
    if (admitted == NULL) { /* a signal handler has raised: whoever takes the lock next goes on with it */
        let_go(self);
        return NULL;
    }
    Py_DECREF(admitted);
    Py_CLEAR(self->sleeper);
    Py_RETURN_TRUE;
}

static PyObject *lock_exit(SharedLock *self, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(count)) {
    return lock_release(self, NULL);
}

static PyObject *lock_is_owned(SharedLock *self, PyObject *Py_UNUSED(args)) {
    return PyBool_FromLong(is_owned(self));
}

/* allow(way, sleeper): who may sleep on it; None if nobody may. One that waits keeps its place. */
static PyObject *lock_allow(SharedLock *self, PyObject *args) {
    int way;
    PyObject *sleeper;
    if (!PyArg_ParseTuple(args, "pO", &way, &sleeper)) return NULL;
    if (sleeper != Py_None && !Py_IS_TYPE(sleeper, &Sleeper_Type)) return PyErr_Format(PyExc_TypeError, "no Sleeper");
    if (self->allowed[way] == NULL || !is_waiting(self->allowed[way]))
        Py_XSETREF(self->allowed[way], sleeper == Py_None ? NULL : (Sleeper *)Py_NewRef(sleeper));
    Py_RETURN_NONE;
}

/* allowed(way): see `allow`. */
static PyObject *lock_allowed(SharedLock *self, PyObject *way) {
    PyObject *allowed = (PyObject *)self->allowed[PyObject_IsTrue(way) == 1];
    return Py_NewRef(allowed == NULL ? Py_None : allowed);
}

/* disuse(): the socket is not to be used here any more. */
static PyObject *lock_disuse(SharedLock *self, PyObject *Py_UNUSED(args)) {
    self->address = NULL;
    Py_RETURN_NONE;
}

/* SharedLock(admit, leave, address, full, alternates) */
static PyObject *lock_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    PyObject *admit, *leave, *number;
    long full;
    int alternates;
    if (!PyArg_ParseTuple(args, "OOO!lp", &admit, &leave, &PyLong_Type, &number, &full, &alternates)) return NULL;
    void *address = PyLong_AsVoidPtr(number);
    if (address == NULL && PyErr_Occurred()) return NULL;
    SharedLock *self = (SharedLock *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->lock = PyThread_allocate_lock();
    self->admit = Py_NewRef(admit);
    self->leave = Py_NewRef(leave);
    self->address = address;
    self->full = full;
    self->alternates = alternates;
    if (self->lock != NULL) return (PyObject *)self;
    Py_DECREF(self);
    return PyErr_NoMemory();
}

static int lock_traverse(SharedLock *self, visitproc visit, void *arg) {
    Py_VISIT(self->admit);
    Py_VISIT(self->leave);
    Py_VISIT(self->allowed[0]);
    Py_VISIT(self->allowed[1]);
    Py_VISIT(self->sleeper);
    Py_VISIT(self->arrived);
    return 0;
}

static int lock_clear(SharedLock *self) {
    Py_CLEAR(self->admit);
    Py_CLEAR(self->leave);
    Py_CLEAR(self->allowed[0]);
    Py_CLEAR(self->allowed[1]);
    Py_CLEAR(self->sleeper);
    Py_CLEAR(self->arrived);
    return 0;
}

static void lock_dealloc(SharedLock *self) {
    PyObject_GC_UnTrack(self);
    lock_clear(self);
    if (self->lock != NULL) PyThread_free_lock(self->lock);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef lock_methods[] = {
    {"acquire", (PyCFunction)lock_acquire, METH_NOARGS, NULL},
    {"release", (PyCFunction)lock_release, METH_NOARGS, NULL},
    {"__enter__", (PyCFunction)lock_acquire, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))lock_exit, METH_FASTCALL, NULL},
    {"_is_owned", (PyCFunction)lock_is_owned, METH_NOARGS, NULL},
    {"allow", (PyCFunction)lock_allow, METH_VARARGS, NULL},
    {"allowed", (PyCFunction)lock_allowed, METH_O, NULL},
    {"disuse", (PyCFunction)lock_disuse, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject SharedLock_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "greenzmq.sockets._fastpath.SharedLock",
    .tp_doc = "The lock of a socket that native threads share.",
    .tp_basicsize = sizeof(SharedLock),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = lock_new,
    .tp_dealloc = (destructor)lock_dealloc,
    .tp_traverse = (traverseproc)lock_traverse,
    .tp_clear = (inquiry)lock_clear,
    .tp_methods = lock_methods,
};

/* --- the sleeper -------------------------------------------------------------------------------------------------- */

/* Two threads that take turns: what one sends wakes the other, which then wants the GIL. So a thread that has received, or
   has slept, releases the GIL for its next send, and one that has answered so for its next receive. */
static _Thread_local enum { NO_TURN, HAS_RECEIVED, HAS_ANSWERED } turn;

/* Whether this greenlet may sleep, and its hub has nothing to do but to wait for its descriptors. -1 if a signal
   handler has raised: they run between bytecodes, and a thread that is woken in vain, and sleeps again, has none. */
static int may_sleep(Sleeper *self) {
    if (!is_here(self->party)) return 0;
    if (PyErr_CheckSignals() < 0) return -1;
    Py_ssize_t size = 0;
    for (Py_ssize_t i = 0; size == 0 && i < PyTuple_GET_SIZE(self->busy); i++) {
        PyObject *of = PyTuple_GET_ITEM(self->busy, i);
        int is_pair = PyTuple_CheckExact(of) && PyTuple_GET_SIZE(of) == 2;
        size = PyObject_Size(is_pair ? PyTuple_GET_ITEM(of, 0) : of);
        if (is_pair && size > 0) size = PyObject_Size(PyTuple_GET_ITEM(of, 1));
    }
    if (size < 0) return -1;
    PyObject *said = size == 0 && self->check != Py_None ? PyObject_CallNoArgs(self->check) : Py_NewRef(Py_True);
    Py_XDECREF(said);
    return said == NULL ? -1 : said == Py_True && size == 0;
}

/* Whether there is room for the message: 1 to send, 0 to sleep; -1 if EVENTS says so in vain. A send that has met EAGAIN
   may have left commands unprocessed. To read EVENTS processes them. */
NOT_INLINED static int has_room(Sleeper *self) {
    int events = 0;
    size_t size = sizeof events;
    if (zmq.getsockopt_(self->lock->address, EVENTS, &events, &size) != 0) return 1; /* the call meets the error */
    self->promised = (events & SENDABLE) && !self->promised;
    return self->promised ? 1 : events & SENDABLE ? -1 : 0;
}

#ifdef __linux__
/* -1 where it cannot be made, such as for lack of descriptors. */
static int new_epoll(int fd, int hub_fd) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event of_socket = {.events = EPOLLIN}, of_hub = {.events = EPOLLIN, .data.u32 = 1};
    if (epoll < 0 ||
        (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &of_socket) == 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, hub_fd, &of_hub) == 0))
        return epoll;
    close(epoll);
    return -1;
}
#endif

/* Sleep, and return whether the socket has a signal and nothing else has happened. Without the GIL. */
static int is_signalled(int fd, int hub_fd, int epoll) {
#ifdef __linux__
    struct epoll_event found[2];
    if (epoll >= 0) return epoll_wait(epoll, found, 2, -1) == 1 && found[0].data.u32 == 0;
#endif
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = hub_fd, .events = POLLIN}};
    return poll(fds, 2, -1) > 0 && fds[1].revents == 0;
}

/* Sleep until something happens. RETRY: the socket has a signal. AGAIN: anything else. RECEIVED: the socket had one, and
   this has also received. Then the lock itself is held, so that nobody is admitted, and the message is in `message`. If no
   attempt has been made before, it is made first.

   All this without the GIL, which another thread has just now, probably: it is asked for once then, and not twice. That
   is allowed because whoever uses a socket on which somebody sleeps takes the lock, and admits the sleeper first. */
NOT_INLINED static int sleep_and_receive(Sleeper *self, SharedLock *lock, int tries_first) {
    for (;;) {
        if (!tries_first && !is_signalled(self->fd, self->hub_fd, self->epoll)) return AGAIN;
        if (self->way == 1 || !PyThread_acquire_lock(lock->lock, NOWAIT_LOCK)) return RETRY;
        self->slept = !tries_first;
        self->address = lock->address; /* NULL if another thread is about to close the socket */
        int is_alone = lock->sleeper == self && self->waiter == Py_None && self->address != NULL;
        if (is_alone && zmq.msg_recv_(&self->message, self->address, DONTWAIT) >= 0) return RECEIVED;
        int refused = is_alone && zmq.errno_() == EAGAIN;
        PyThread_release_lock(lock->lock);
        if (!tries_first || !refused) return RETRY; /* the call finds out why */
        tries_first = 0;
    }
}

/* What `time.monotonic` says. */
NOT_INLINED static double monotonic(void) {
    struct timespec now = {0};
    clock_gettime(PYTHONS_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

Sleeper *admitted;
/* The lock, after RECEIVED: the socket may have lost it, if another thread has asked for the socket's address. */
static SharedLock *received_on;

/* What `rest` and `rest_first` do, of which the latter `tries_first`. `may_sleep` may run a signal handler, which may
   switch greenlets: so what is pointed to is not on this stack, as in "one attempt" in _fastpath.c. */
static int sleep_on(SharedLock *lock, PyObject *socket, int way, int tries_first) {
    Sleeper *self = (Sleeper *)Py_XNewRef((PyObject *)lock->allowed[way]);
    if (self == NULL) return tries_first ? RETRY : AGAIN;
    int room = 0, outcome;
    /* What `may_sleep` asks may run Python code, and so anything. Afterwards nothing does, until the sleep. */
    int may = may_sleep(self);
    if (may <= 0 || is_closed(socket) || lock->held || lock->sleeper != NULL || lock->address == NULL ||
        is_waiting(self) || (tries_first && !is_gate_open(socket, RECEIVING)) ||
        (!tries_first && (lock->refused != lock->calls || lock->refused_way != way)) ||
        (way == 1 && (room = has_room(self)) != 0)) {
        Py_DECREF(self);
        admitted = NULL; /* other threads may have set it meanwhile */
        return may < 0 ? FAILED : room > 0 || tries_first ? RETRY : AGAIN;
    }
    lock->sleeper = (Sleeper *)Py_NewRef((PyObject *)self);
    Py_XSETREF(self->socket, Py_NewRef(socket));
    self->since = monotonic();
    Py_BEGIN_ALLOW_THREADS
    outcome = sleep_and_receive(self, lock, tries_first);
    Py_END_ALLOW_THREADS
    if (outcome == RECEIVED) {
        lock->owner = PyThread_get_thread_ident();
        lock->held = 1;
        lock->calls++;
        lock->arrived = (Sleeper *)Py_NewRef((PyObject *)self);
        received_on = lock;
    } else if (lock->held || lock->sleeper != self || self->waiter != Py_None) {
        /* It is being admitted, or has been. Or that was interrupted in the middle: to take the lock goes on with it. */
        admitted = self;
        return AGAIN;
    }
    Py_CLEAR(lock->sleeper);
    Py_CLEAR(self->socket);
    turn = HAS_RECEIVED;              /* or has slept */
    self->spoiled = outcome == AGAIN; /* a signal of the system, or a kill or what else is for the hub: see Python */
    Py_DECREF(self);
    admitted = NULL;
    return outcome;
}

/* Let a direction's calls take the fast path once more for a whole turn. Not if it is closed. */
static void refill(SharedLock *lock, PyObject *direction) {
    if (direction != NULL && calls_left(direction) > 0) set_calls_left(direction, lock->full);
}

int rest(PyObject *socket, int way) {
    SharedLock *lock = lock_of(socket);
    admitted = NULL;
    int outcome = lock == NULL ? AGAIN : sleep_on(lock, socket, IS_SEND(way), 0);
    PyObject *direction = direction_of(socket, way);
    if (outcome == RETRY || outcome == RECEIVED) refill(lock, direction); /* a new turn */
    /* To a REQ or REP the countdown says "a send has happened", and none has. */
    if (outcome == FAILED && IS_SEND(way) && direction != NULL) set_calls_left(direction, 0);
    return outcome;
}

int rest_first(PyObject *socket, int way) {
    if (turn != HAS_ANSWERED || !is_gate_open(socket, way)) return RETRY;
    SharedLock *lock = lock_of(socket);
    int outcome = lock == NULL ? RETRY : sleep_on(lock, socket, 0, 1);
    /* A sleep begins a new turn. What was there at once counts, or a thread that never sleeps would never end one. */
    if (outcome == RECEIVED && lock->arrived->slept) refill(lock, direction_of(socket, way));
    return outcome;
}

PyObject *end_sleep(Sleeper *self, PyObject *socket, PyObject *result) {
    if (self == NULL) return result;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    for (int tries = 0; tries < 2 && is_waiting(self); tries++) { /* twice, as in `SocketState.perform` */
        PyObject *left = PyObject_CallFunctionObjArgs(self->lock->leave, (PyObject *)self, socket, NULL);
        Py_XDECREF(left);
        if (left != NULL) continue;
        Py_XDECREF(type), Py_XDECREF(value), Py_XDECREF(traceback);
        PyErr_Fetch(&type, &value, &traceback);
        Py_CLEAR(result);
    }
    if (type != NULL) PyErr_Restore(type, value, traceback);
    Py_DECREF(self);
    return result;
}

static PyObject *sleeper_waits(Sleeper *self, void *Py_UNUSED(closure)) {
    return PyBool_FromLong(is_waiting(self));
}

static PyObject *sleeper_get_waiter(Sleeper *self, void *Py_UNUSED(closure)) {
    return Py_NewRef(self->waiter);
}

static int sleeper_set_waiter(Sleeper *self, PyObject *waiter, void *Py_UNUSED(closure)) {
    Py_XSETREF(self->waiter, Py_NewRef(waiter == NULL ? Py_None : waiter));
    if (self->waiter == Py_None) Py_CLEAR(self->socket);
    return 0;
}

static PyObject *sleeper_get_sends(Sleeper *self, void *Py_UNUSED(closure)) {
    return PyBool_FromLong(self->way);
}

static PyObject *sleeper_get_spoiled(Sleeper *self, void *Py_UNUSED(closure)) {
    return PyBool_FromLong(self->spoiled);
}

/* Sleeper(lock, hub, party, check, busy, way, fd, hub_fd) */
static PyObject *sleeper_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    PyObject *lock, *hub, *party, *check, *busy;
    long way;
    int fd, hub_fd;
    if (!PyArg_ParseTuple(args, "O!OOOO!lii", &SharedLock_Type, &lock, &hub, &party, &check, &PyTuple_Type, &busy, &way,
                          &fd, &hub_fd))
        return NULL;
    Sleeper *self = (Sleeper *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->lock = (SharedLock *)Py_NewRef(lock);
    self->hub = Py_NewRef(hub);
    self->party = Py_NewRef(party);
    self->check = Py_NewRef(check);
    self->busy = Py_NewRef(busy);
    self->waiter = Py_NewRef(Py_None);
    self->way = way;
    self->fd = fd;
    self->hub_fd = hub_fd;
    self->epoll = -1;
    zmq.msg_init_(&self->message);
#ifdef __linux__
    self->epoll = new_epoll(fd, hub_fd);
#endif
    return (PyObject *)self;
}

static int sleeper_traverse(Sleeper *self, visitproc visit, void *arg) {
    Py_VISIT(self->lock);
    Py_VISIT(self->hub);
    Py_VISIT(self->party);
    Py_VISIT(self->check);
    Py_VISIT(self->busy);
    Py_VISIT(self->waiter);
    Py_VISIT(self->socket);
    return 0;
}

static int sleeper_clear(Sleeper *self) {
    Py_CLEAR(self->socket);
    Py_XSETREF(self->waiter, Py_NewRef(Py_None));
    return 0;
}

static void sleeper_dealloc(Sleeper *self) {
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->lock);
    Py_CLEAR(self->hub);
    Py_CLEAR(self->party);
    Py_CLEAR(self->check);
    Py_CLEAR(self->busy);
    Py_CLEAR(self->waiter);
    Py_CLEAR(self->socket);
    zmq.msg_close_(&self->message);
    if (self->epoll >= 0) close(self->epoll);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMemberDef sleeper_members[] = {
    {"socket", T_OBJECT, offsetof(Sleeper, socket), READONLY, NULL}, /* or None */
    {"hub", T_OBJECT, offsetof(Sleeper, hub), READONLY, NULL},
    {"party", T_OBJECT, offsetof(Sleeper, party), READONLY, NULL},
    {"since", T_DOUBLE, offsetof(Sleeper, since), READONLY, NULL},
    {NULL},
};

static PyGetSetDef sleeper_getset[] = {
    {"waits", (getter)sleeper_waits, NULL, NULL, NULL},
    {"waiter", (getter)sleeper_get_waiter, (setter)sleeper_set_waiter, NULL, NULL},
    {"sends", (getter)sleeper_get_sends, NULL, NULL, NULL},
    {"spoiled", (getter)sleeper_get_spoiled, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject Sleeper_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "greenzmq.sockets._fastpath.Sleeper",
    .tp_doc = "A thread that may sleep on one socket, in one direction.",
    .tp_basicsize = sizeof(Sleeper),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = sleeper_new,
    .tp_dealloc = (destructor)sleeper_dealloc,
    .tp_traverse = (traverseproc)sleeper_traverse,
    .tp_clear = (inquiry)sleeper_clear,
    .tp_members = sleeper_members,
    .tp_getset = sleeper_getset,
};

/* --- attempts on a shared socket ------------------------------------------------------------------------------------ */

/* A call has met EAGAIN: this thread may sleep on the socket now, if nobody uses it before. */
static void note_refused(SharedLock *lock, int sends) {
    lock->refused = lock->calls;
    lock->refused_way = sends;
}

Py_ssize_t send_shared(SharedLock *lock, Message *messages, Py_ssize_t count, void *address, int *error) {
    Py_ssize_t sent;
    *error = EBUSY;
    if (!try_hold(lock)) return 0;
    turn = turn == HAS_RECEIVED ? HAS_ANSWERED : NO_TURN;
    if (turn == HAS_ANSWERED) { /* the message wakes a thread, probably, which could not go on */
        Py_BEGIN_ALLOW_THREADS
        sent = send_parts(messages, count, address, error);
        Py_END_ALLOW_THREADS
    } else {
        sent = send_parts(messages, count, address, error);
    }
    if (sent > 0 && sent < count) return sent;
    let_go(lock);
    if (*error == EAGAIN) note_refused(lock, 1);
    return sent;
}

int receive_shared(SharedLock *lock, PyObject *socket, PyObject *parts, const Gate *gate) {
    if (parts != NULL && !try_hold(lock)) return PYTHON; /* the GIL may be released in the middle of the message */
    set_calls_left(gate->direction, gate->calls_left - 1);
    int outcome = receive_parts(socket, parts, gate, lock, NULL);
    if (parts != NULL) let_go(lock);
    if (outcome == AGAIN) note_refused(lock, 0);
    return outcome;
}

void note_received(SharedLock *lock, PyObject *socket) {
    turn = HAS_RECEIVED;
    /* On a REQ or REP no send has happened since: see `SocketState._use_alternation`. */
    if (lock->alternates) refill(lock, direction_of(socket, SENDING));
}

int take_arrived(PyObject *socket, PyObject *parts) {
    SharedLock *lock = received_on;
    Sleeper *arrived = lock->arrived;
    PyObject *direction = direction_of(socket, RECEIVING);
    Gate gate = {arrived->address, direction, calls_left(direction)};
    if (gate.calls_left > 0) set_calls_left(direction, gate.calls_left - 1);
    int outcome = receive_parts(socket, parts, &gate, lock, &arrived->message);
    PyObject *bytes = taken;
    lock->arrived = NULL;
    let_go(lock);
    Py_DECREF(arrived);
    taken = bytes; /* other threads may have set it meanwhile */
    return outcome;
}

int set_up_shared(PyObject *module) {
    return PyModule_AddType(module, &SharedLock_Type) == 0 ? PyModule_AddType(module, &Sleeper_Type) : -1;
}
