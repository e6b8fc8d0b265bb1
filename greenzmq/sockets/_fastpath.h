/* What the files of the extension share: libzmq's functions, and the lock of a socket that threads share. */

#ifndef GREENZMQ_FASTPATH_H
#define GREENZMQ_FASTPATH_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>

#define INTERFACE 4 /* as in accelerator.py */

#if defined(PYPY_VERSION) || defined(Py_GIL_DISABLED)
#error "the compiled fast path is for CPython with its lock"
#endif

typedef union {
    unsigned char octets[64]; /* in every libzmq from 4.1 on; zmq.h promises it */
    void *aligned;
} Message;

#define FUNCTIONS(X)                                                                                                   \
    X(version, void, (int *, int *, int *))                                                                            \
    X(errno, int, (void))                                                                                              \
    X(msg_init, int, (Message *))                                                                                      \
    X(msg_init_size, int, (Message *, size_t))                                                                         \
    X(msg_close, int, (Message *))                                                                                     \
    X(msg_data, void *, (Message *))                                                                                   \
    X(msg_size, size_t, (const Message *))                                                                             \
    X(msg_more, int, (const Message *))                                                                                \
    X(msg_send, int, (Message *, void *, int))                                                                         \
    X(msg_recv, int, (Message *, void *, int))                                                                         \
    X(getsockopt, int, (void *, int, void *, size_t *))

#define FIELD(name, result, arguments) result(*name##_) arguments;
extern struct Zmq {
    FUNCTIONS(FIELD)
} zmq;

/* load(path): find the functions in the shared library at `path`, which is loaded already, and in those that it needs. */
PyObject *load_libzmq(PyObject *module, PyObject *path);

/* --- one attempt, without a wait (_fastpath.c) --------------------------------------------------------------------- */

#define BIG 65536 /* octets from which on the GIL is released, as pyzmq's COPY_THRESHOLD */

/* What an attempt has come to. */
enum {
    DONE,
    AGAIN,    /* EAGAIN, and nothing was done */
    PYTHON,   /* nothing was done: the Python method has to do it, or to raise the error */
    CLOSED,   /* the same, of a green socket whose gate is closed: that would call `perform` */
    FAILED,   /* an exception is set */
    RETRY,    /* of a rest: the attempt is to be made once more, or at all */
    RECEIVED, /* of a rest: it has received, and what follows is `take_recv` or `take_recv_parts` */
};

int try_send(PyObject *socket, PyObject *bytes);
int try_recv(PyObject *socket);
int try_send_parts(PyObject *socket, PyObject *parts);
int try_recv_parts(PyObject *socket, PyObject *parts);
/* The same as the two that receive, after RECEIVED. */
int take_recv(PyObject *socket);
int take_recv_parts(PyObject *socket, PyObject *parts);

/* What try_recv has received, if it is DONE. */
extern PyObject *taken;
/* What try_send_parts has done, if it is AGAIN: how many parts were sent, what ended it, and the lock, if that is still
   held: whoever reads it lets it go, and owns the reference. */
extern struct Stopped {
    Py_ssize_t sent;
    int error;
    struct SharedLock *lock;
} stopped;

/* The state of a green socket whose gate was open, and a direction of it: 0 to receive, 1 to send. Borrowed. */
PyObject *state_of(PyObject *socket);
PyObject *direction_of(PyObject *socket, int way);

int set_up_methods(PyObject *module);

/* --- sockets that threads share (_shared.c) ------------------------------------------------------------------------- */

typedef struct Sleeper Sleeper;

typedef struct SharedLock {
    PyObject_HEAD
    PyThread_type_lock lock;
    unsigned long owner;   /* the thread that holds it */
    PyObject *admit;       /* called for the sleeper, by whoever takes the lock */
    PyObject *leave;       /* called for it at the end of its wait */
    Sleeper *allowed[2];   /* who may sleep on it to receive, and to send; or NULL */
    void *address;         /* of the libzmq socket; NULL once it may not be used here */
    Sleeper *sleeper;      /* who sleeps on the socket; NULL if nobody does */
    Sleeper *arrived;      /* whose sleep has received a message, which is to be taken now; or NULL */
    long held;             /* how many times the lock is held, by one thread */
    unsigned long calls;   /* a number of each use of the socket */
    unsigned long refused; /* of the last one that met EAGAIN */
    long refused_way;      /* and whether that was a recv (0) or a send (1) */
    long full;             /* what `fast_calls_left` is at the beginning of a turn */
    int alternates;        /* it is a REQ or REP */
} SharedLock;

extern PyTypeObject SharedLock_Type, Sleeper_Type;

/* The address of the socket, if it can be used now: nobody holds the lock, and nobody sleeps. Counts as a use. */
void *free_address(PyObject *lock);
/* Take a lock that is free, and nobody sleeps; or 0, without a wait. And give it back. */
int try_hold(SharedLock *lock);
void let_go(SharedLock *lock);

/* Sleep until a call that has met EAGAIN is worth another try: RETRY. Or RECEIVED: the first part of a message was, and
   the lock is held. Or AGAIN: the call goes on in Python. Or FAILED: a signal handler has raised, and nobody has slept.
   With `tries_first` to receive without an attempt before: then RETRY also says that this was not possible. */
int sleep_on(SharedLock *lock, PyObject *socket, int way, int tries_first);
/* The lock, after RECEIVED; to be read at once. The socket may have lost it: another thread has got its address, say. */
extern SharedLock *received_on;
/* Where that first part is, of which libzmq socket it is, and whether it came only after a sleep. */
Message *message_of(Sleeper *sleeper);
void *origin_of(Sleeper *sleeper);
int has_slept(Sleeper *sleeper);
/* What stands in the place of an attempt to receive, in a thread that takes turns with another one: RETRY says that the
   attempt has to be made. `whole` is for all parts. */
int rest_first(PyObject *socket, int whole);
/* Whether a receive may take the fast path now. */
int can_receive(PyObject *socket, int whole);
/* What follows an attempt that has met EAGAIN; see `sleep_on`. On a socket that threads do not share: AGAIN. */
int rest(PyObject *socket, int way);
/* Whom the last `rest` that gave AGAIN has let into the queue, or may still; NULL if nobody. The result of the call in
   Python then goes through `end_sleep`. It is to be read at once, while no other thread runs. Not a pointer to a variable
   of the caller's, since greenlets may switch during that call: see "one call" in _fastpath.c. */
extern Sleeper *admitted;
PyObject *end_sleep(Sleeper *used, PyObject *socket, PyObject *result);

/* The lock of a socket that threads share, whose address could be used just now; NULL of any other. */
SharedLock *lock_of(PyObject *socket);

/* Whether pyzmq says that its socket is closed. A failure counts as closed: Python finds out. */
int is_closed(PyObject *socket);

/* Whether a weak reference is to the greenlet that runs. */
int is_here(PyObject *reference);

/* Two threads that take turns: what one sends wakes the other, which then wants the GIL. So a thread that has received, or
   has slept, releases the GIL for its next send, and one that has answered so for its next receive. */
void note_turn(void);   /* this thread has received, or has slept */
int has_turn(void);     /* whether that is the last thing it has done */
int takes_turns(void);  /* the same, asked for a send, which is the last thing from now on */
int has_answered(void); /* whether the last thing was such a send */

int set_up_shared(PyObject *module);

#endif
