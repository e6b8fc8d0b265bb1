/* What the fast path and the sleep of threads know of each other: libzmq's functions, a socket's gate, and its lock. */

#ifndef GREENZMQ_FASTPATH_H
#define GREENZMQ_FASTPATH_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>

#define INTERFACE 5 /* as in accelerator.py */

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

#define INLINED inline __attribute__((always_inline))
#define NOT_INLINED __attribute__((noinline))

#define DONTWAIT 1 /* ZMQ_DONTWAIT */
#define SNDMORE 2  /* ZMQ_SNDMORE */

#define FIELD(name, result, arguments) result(*name##_) arguments;
extern struct Zmq {
    FUNCTIONS(FIELD)
} zmq;

/* --- one attempt, without a wait (_fastpath.c) --------------------------------------------------------------------- */

/* The slots that are read here. The first four are the ways of calling, and hold a Direction or something else. */
enum { RECEIVING, SENDING, MESSAGE_RECEIVING, MESSAGE_SENDING, STATE, ADDRESS, CALLS_LEFT, LAST_RECEIVER, SLOTS };
#define IS_SEND(way) ((way) & 1)

/* What an attempt has come to. */
enum {
    DONE,
    AGAIN,    /* EAGAIN, and nothing was done */
    PYTHON,   /* nothing was done: the Python method has to do it, or to raise the error */
    CLOSED,   /* the same, of a green socket whose gate is closed: that would call `perform` */
    FAILED,   /* an exception is set */
    RETRY,    /* of a rest: the attempt is to be made once more, or at all */
    RECEIVED, /* of a rest: it has received, and what follows is `take_arrived` */
};

/* What the gate has let through, all of it borrowed, and true until Python code or another thread runs. */
typedef struct {
    void *address;
    PyObject *direction;
    long calls_left;
} Gate;

/* Whether the next call of a socket may take the fast path. */
int is_gate_open(PyObject *socket, int way);
/* One of the directions of a green socket whose gate was open, borrowed; NULL if there is none. */
PyObject *direction_of(PyObject *socket, int way);
/* How many calls may still take the fast path. */
long calls_left(PyObject *direction);
void set_calls_left(PyObject *direction, long number);
/* Whether pyzmq says that its socket is closed. A failure counts as closed: Python finds out. */
int is_closed(PyObject *socket);
/* What a weak reference is to, or None: a new reference. */
static inline PyObject *referent(PyObject *reference) {
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *found;
    return PyWeakref_GetRef(reference, &found) > 0 ? found : Py_NewRef(Py_None);
#else
    return Py_NewRef(PyWeakref_GET_OBJECT(reference));
#endif
}
/* Whether that is the greenlet that runs. */
int is_here(PyObject *reference);

typedef struct SharedLock SharedLock;

/* Send so many messages as parts of one. Returns how many are sent, and what has ended it in `error`. */
Py_ssize_t send_parts(Message *messages, Py_ssize_t count, void *address, int *error);
/* Receive all parts into a list; or one part, into `taken`, if `parts` is NULL. The lock is that of a shared socket, or
   NULL. The first part may have `arrived` already. */
int receive_parts(PyObject *socket, PyObject *parts, const Gate *gate, SharedLock *lock, Message *arrived);
extern PyObject *taken;
/* What the last attempt to send has done that gave AGAIN: how many parts were sent, what ended it, and the lock if that is
   still held: then whoever reads it owns the reference, and lets it go. */
extern struct Stopped {
    Py_ssize_t sent;
    int error;
    SharedLock *lock;
} stopped;

/* --- sockets that threads share (_shared.c) ------------------------------------------------------------------------- */

typedef struct Sleeper Sleeper;

struct SharedLock {
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
};

/* The lock of a socket whose gate was open, if threads share it; else NULL. */
SharedLock *lock_of(PyObject *socket);
extern PyTypeObject SharedLock_Type;
/* The address of the socket, if it can be used now: nobody holds the lock, and nobody sleeps. Counts as a use. */
void *free_address(PyObject *lock);
void let_go(SharedLock *lock);

/* `send_parts` under the lock, which is still held if the message has stopped in its middle; EBUSY if it is not free. */
Py_ssize_t send_shared(SharedLock *lock, Message *messages, Py_ssize_t count, void *address, int *error);
/* Receive with the gate open, and count the call; see `receive_parts`. */
int receive_shared(SharedLock *lock, PyObject *socket, PyObject *parts, const Gate *gate);
/* A part was received. */
void note_received(SharedLock *lock, PyObject *socket);

/* What follows an attempt that has met EAGAIN. The thread sleeps, if it can, until the call is worth another try: RETRY. Or
   RECEIVED: the first part of a message was received, and `take_arrived` follows. Or AGAIN: the call goes on in Python. Or
   FAILED: a signal handler has raised, and nobody has slept. */
int rest(PyObject *socket, int way);
/* The same in the place of an attempt to receive, in a thread that takes turns with another one. Then RETRY also says that
   the attempt has to be made. */
int rest_first(PyObject *socket, int way);
/* Take what has arrived, to be called at once; see `receive_parts`. */
int take_arrived(PyObject *socket, PyObject *parts);
/* Whom the last `rest` that gave AGAIN has let into the queue, or may still; NULL if nobody. The result of the call in
   Python then goes through `end_sleep`, which does nothing with NULL. It is to be read at once, while no other thread
   runs. It is no variable of the caller's that `rest` is given a pointer to: see "one attempt" in _fastpath.c. */
extern Sleeper *admitted;
PyObject *end_sleep(Sleeper *used, PyObject *socket, PyObject *result);

int set_up_shared(PyObject *module);

#endif
