/* The compiled fast path: send, recv and whole messages of plain bytes, and libzmq's integer options.

   Fact: of a ready send and recv libzmq does a tenth; the rest is pyzmq's wrapper and the interpreter. Choice: the hot
   methods of greenzmq's Socket stand in Python, complete. A `FastMethod` around one does the usual case here, and calls
   the Python method for every other: other arguments, a closed gate (`Direction.fast_calls_left`), any error of libzmq.
   So the Python code stays the reference. Nothing here decides what an error is, whom to wake, or whose turn it is.

   What keeps it safe:

   - Nothing is linked. libzmq's functions are looked up in what pyzmq has loaded (`load`); they and the size of a
     zmq_msg_t are its stable interface. Fields of Python objects are found by their descriptors (`use`). If anything is
     not as expected, an exception says so, and greenzmq goes on without this module.
   - The address of a libzmq socket stands in `CompiledPath.address`, and only while greenzmq alone has the socket: not
     once it is to be closed, the program has asked for the address, or the process is a forked child. Besides, each
     call asks pyzmq's own `_closed`, by its C getter, as pyzmq's own calls do.
   - libzmq's functions are called with the GIL held, under ZMQ_DONTWAIT: no other thread closes a socket meanwhile.
     Only the copying of 64 KB or more is done without the GIL; then everything is looked at again.
   - From the look at the gate to the end of the call no Python code runs: nothing is allocated there that could make
     the garbage collector run. */

#include "_fastpath.h"

#include <structmember.h>

#include <string.h>

#define DONTWAIT 1          /* ZMQ_DONTWAIT */
#define SNDMORE 2           /* ZMQ_SNDMORE */
#define MESSAGES_IN_PLACE 8 /* parts of a message that need no allocation */
#define OPTIONS 256         /* options with a larger number are pyzmq's affair */
#define ONE_MORE 4096       /* octets that count as much as a call, since to copy them takes as long */

/* --- what is known of the Python side ------------------------------------------------------------------------------ */

/* The slots that are read here. The first four are the ways of calling, and hold a Direction or something else. */
enum { RECEIVING, SENDING, MESSAGE_RECEIVING, MESSAGE_SENDING, STATE, ADDRESS, CALLS_LEFT, LAST_RECEIVER, SLOTS };

static struct {
    PyTypeObject *socket, *state, *direction;
    Py_ssize_t offset[SLOTS];
    PyObject *getcurrent;  /* greenlet's, which is written in C */
    PyObject *raise_error; /* raises the error that pyzmq has for an errno */
} green;

static struct {
    PyGetSetDescrObject *closed, *underlying; /* two attributes of its Socket, which is compiled */
    PyObject *get, *recv;                     /* two methods of that */
    unsigned char is_integer[OPTIONS];        /* which of libzmq's options are a C int */
} pyzmq;

/* use_pyzmq(closed, underlying, get, recv, integer_options): the descriptors of two attributes of pyzmq's Socket, two of
   its methods, and the numbers of the options that are a C int. */
static PyObject *use_pyzmq(PyObject *Py_UNUSED(module), PyObject *args) {
    PyGetSetDescrObject *closed, *underlying;
    PyObject *get, *recv;
    Py_buffer options;
    PyTypeObject *kind = &PyGetSetDescr_Type;
    if (!PyArg_ParseTuple(args, "O!O!OOy*", kind, &closed, kind, &underlying, &get, &recv, &options)) return NULL;
    memset(pyzmq.is_integer, 0, sizeof pyzmq.is_integer);
    for (Py_ssize_t i = 0; i < options.len; i++) pyzmq.is_integer[((unsigned char *)options.buf)[i]] = 1;
    PyBuffer_Release(&options);
    pyzmq.closed = (PyGetSetDescrObject *)Py_NewRef(closed);
    pyzmq.underlying = (PyGetSetDescrObject *)Py_NewRef(underlying);
    pyzmq.get = Py_NewRef(get);
    pyzmq.recv = Py_NewRef(recv);
    Py_RETURN_NONE;
}

/* use(slots, getcurrent, raise_error): the descriptors of the slots of greenzmq's classes, and two functions. Until it is
   called every FastMethod calls its Python method. */
static PyObject *use(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *slots, *getcurrent, *raise_error;
    PyTypeObject *owners[SLOTS];
    if (!PyArg_ParseTuple(args, "O!O!O", &PyTuple_Type, &slots, &PyCFunction_Type, &getcurrent, &raise_error))
        return NULL;
    int expected = PyTuple_GET_SIZE(slots) == SLOTS && PyCFunction_GET_FLAGS(getcurrent) == METH_NOARGS;
    for (int slot = 0; expected && slot < SLOTS; slot++) {
        PyMemberDescrObject *descriptor = (PyMemberDescrObject *)PyTuple_GET_ITEM(slots, slot);
        expected = Py_TYPE(descriptor) == &PyMemberDescr_Type && descriptor->d_member->type == T_OBJECT_EX;
        if (!expected) break;
        green.offset[slot] = descriptor->d_member->offset;
        owners[slot] = PyDescr_TYPE(descriptor);
        expected = owners[slot] == owners[slot <= STATE ? 0 : slot == ADDRESS ? ADDRESS : CALLS_LEFT];
    }
    if (!expected || pyzmq.closed == NULL || !PyType_IsSubtype(owners[0], PyDescr_TYPE(pyzmq.closed))) {
        PyErr_SetString(PyExc_ImportError, "the classes of greenzmq, pyzmq or greenlet are not as expected");
        return NULL;
    }
    green.getcurrent = Py_NewRef(getcurrent);
    green.raise_error = Py_NewRef(raise_error);
    green.direction = (PyTypeObject *)Py_NewRef(owners[CALLS_LEFT]);
    green.state = (PyTypeObject *)Py_NewRef(owners[ADDRESS]);
    green.socket = (PyTypeObject *)Py_NewRef(owners[0]);
    Py_RETURN_NONE;
}

/* --- the gate ----------------------------------------------------------------------------------------------------- */

#define NOT_INLINED __attribute__((noinline)) /* see `one call` */
#define SLOT(object, slot) (*(PyObject **)((char *)(object) + green.offset[slot]))

/* Whether an object is of a class or a subclass. `seen` is the first type that was: most programs use no other, and to
   walk along the bases for each call would take longer than all else here. */
static int is_a(PyObject *object, PyTypeObject *class, PyTypeObject **seen) {
    PyTypeObject *type = Py_TYPE(object);
    if (type == *seen) return 1;
    if (class == NULL || !PyType_IsSubtype(type, class)) return 0;
    if (*seen == NULL) *seen = (PyTypeObject *)Py_NewRef(type); /* kept, or another might come to stand in its place */
    return 1;
}

int is_closed(PyObject *socket) {
    PyObject *closed = pyzmq.closed->d_getset->get(socket, pyzmq.closed->d_getset->closure);
    if (closed == NULL) PyErr_Clear();
    Py_XDECREF(closed);
    return closed != Py_False;
}

/* The address of a green socket, if it may be used here; else NULL, without an error. */
static void *address_of(PyObject *socket) {
    static PyTypeObject *socket_seen, *state_seen;
    if (!is_a(socket, green.socket, &socket_seen)) return NULL;
    PyObject *state = SLOT(socket, STATE);
    if (state == NULL || !is_a(state, green.state, &state_seen)) return NULL;
    PyObject *address = SLOT(state, ADDRESS);
    if (address == NULL || is_closed(socket)) return NULL;
    return PyLong_CheckExact(address) ? PyLong_AsVoidPtr(address) : free_address(address);
}

PyObject *state_of(PyObject *socket) {
    return SLOT(socket, STATE);
}

PyObject *direction_of(PyObject *socket, int way) {
    return SLOT(socket, way);
}

SharedLock *lock_of(PyObject *socket) {
    PyObject *lock = SLOT(SLOT(socket, STATE), ADDRESS);
    return lock != NULL && Py_IS_TYPE(lock, &SharedLock_Type) ? (SharedLock *)lock : NULL;
}

/* What a weak reference is to, or None. */
static PyObject *referent(PyObject *reference) {
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *found;
    return PyWeakref_GetRef(reference, &found) > 0 ? found : Py_NewRef(Py_None);
#else
    return Py_NewRef(PyWeakref_GET_OBJECT(reference));
#endif
}

int is_here(PyObject *reference) {
    if (reference == NULL || !PyWeakref_CheckRefExact(reference)) return 0;
    PyObject *last = referent(reference);
    PyObject *here = PyCFunction_GET_FUNCTION(green.getcurrent)(PyCFunction_GET_SELF(green.getcurrent), NULL);
    if (last == NULL || here == NULL) PyErr_Clear();
    Py_XDECREF(last); /* as here is alive it is the same object, or was another one */
    Py_XDECREF(here);
    return last != NULL && last == here;
}

/* How many calls may still take the fast path. */
static long calls_left(PyObject *direction) {
    PyObject *left = SLOT(direction, CALLS_LEFT);
    return left != NULL && PyLong_CheckExact(left) ? PyLong_AsLong(left) : 0;
}

/* What the gate has let through, all of it borrowed, and true until Python code runs. */
typedef struct {
    void *address;
    PyObject *direction;
    long calls_left;
} Gate;

/* Whether the next call may take the fast path: DONE, or else CLOSED or PYTHON. */
static int open_gate(Gate *gate, PyObject *socket, int way) {
    static PyTypeObject *seen[STATE];
    if ((gate->address = address_of(socket)) == NULL) return PYTHON;
    gate->direction = SLOT(socket, way);
    if (gate->direction == NULL || !is_a(gate->direction, green.direction, &seen[way])) return PYTHON;
    gate->calls_left = calls_left(gate->direction);
    if (gate->calls_left <= 0) return CLOSED;
    return way == SENDING || way == MESSAGE_SENDING || is_here(SLOT(gate->direction, LAST_RECEIVER)) ? DONE : CLOSED;
}

/* A call is made, or has met EAGAIN: it counts. */
static void count_down(const Gate *gate) {
    Py_XSETREF(SLOT(gate->direction, CALLS_LEFT), PyLong_FromLong(gate->calls_left - 1)); /* CPython keeps small ones */
}

/* The call has sent or received so many octets: large ones end a turn sooner. */
static void count_size(PyObject *direction, size_t size) {
    if (size < ONE_MORE) return;
    long left = calls_left(direction), more = size / ONE_MORE < LONG_MAX ? (long)(size / ONE_MORE) : LONG_MAX;
    if (left > 0) Py_XSETREF(SLOT(direction, CALLS_LEFT), PyLong_FromLong(left > more ? left - more : 0));
}

/* Note that a call has met EAGAIN, and returns AGAIN: if threads share the socket, this one may sleep on it. */
static int refused(PyObject *socket, int sends) {
    SharedLock *lock = lock_of(socket);
    if (lock != NULL) {
        lock->refused = lock->calls;
        lock->refused_way = sends;
    }
    return AGAIN;
}

/* A call has failed after it was counted. To a REQ or REP the countdown says "a send has happened", and none has. */
static void close_gate(PyObject *direction) {
    Py_XSETREF(SLOT(direction, CALLS_LEFT), PyLong_FromLong(0));
}

/* Let a direction's calls take the fast path once more for a whole turn. Not if it is closed. */
static void refill(SharedLock *lock, PyObject *direction) {
    if (direction == NULL || !PyObject_TypeCheck(direction, green.direction) || calls_left(direction) <= 0) return;
    PyObject *full = PyLong_FromLong(lock->full); /* a small number, as above */
    if (full != NULL) Py_XSETREF(SLOT(direction, CALLS_LEFT), full);
}

/* A part was received; the lock is that before it was. On a REQ or REP no send has happened since: see `SocketState._use_alternation`. */
static void note_received(SharedLock *lock, PyObject *socket, PyObject *direction, PyObject *bytes) {
    count_size(direction, (size_t)PyBytes_GET_SIZE(bytes));
    if (lock == NULL) return;
    note_turn();
    if (lock->alternates) refill(lock, SLOT(socket, SENDING));
}

/* --- one call ------------------------------------------------------------------------------------------------------
   The functions that have a Message, or anything that is pointed to, on their stack return before greenlets may switch:
   greenlet copies the stack of one that parks, and a checker of addresses would object. So they are not inlined. */

struct Stopped stopped;

/* Copy, without the GIL if that takes long. Returns whether it was released. */
static int copy(void *to, const void *from, size_t size) {
    if (size < BIG) {
        memcpy(to, from, size);
        return 0;
    }
    Py_BEGIN_ALLOW_THREADS
    memcpy(to, from, size);
    Py_END_ALLOW_THREADS
    return 1;
}

/* A message with these bytes: 0, or -1 if there is no memory. Adds to `released` whether the GIL was. */
static int make_message(Message *message, PyObject *bytes, int *released) {
    size_t size = (size_t)PyBytes_GET_SIZE(bytes);
    if (zmq.msg_init_size_(message, size) != 0) return -1;
    if (size > 0) *released |= copy(zmq.msg_data_(message), PyBytes_AS_STRING(bytes), size);
    return 0;
}

/* Send so many messages as parts of one. Returns how many are sent, and what has ended it in `error`. */
static Py_ssize_t send_parts(Message *messages, Py_ssize_t count, void *address, int *error) {
    Py_ssize_t next = 0;
    while (next < count && zmq.msg_send_(&messages[next], address, DONTWAIT | (next + 1 < count) * SNDMORE) >= 0)
        next++;
    *error = next < count ? zmq.errno_() : 0;
    return next;
}

/* The same, of one message or of all parts, with the lock that is held; NULL if none is. If this thread has received since
   its last one: without the GIL. The two take turns, probably: the message wakes a thread, which could not go on. */
static Py_ssize_t send_waking(SharedLock *lock, Message *messages, Py_ssize_t count, void *address, int *error) {
    if (lock == NULL || !takes_turns()) return send_parts(messages, count, address, error);
    Py_ssize_t sent;
    Py_BEGIN_ALLOW_THREADS
    sent = send_parts(messages, count, address, error);
    Py_END_ALLOW_THREADS
    return sent;
}

NOT_INLINED int try_send(PyObject *socket, PyObject *bytes) {
    Message message;
    Gate gate;
    int released = 0, error = 0;
    Py_ssize_t sent = 0;
    int gates = open_gate(&gate, socket, SENDING);
    if (gates != DONE) return gates;
    if (make_message(&message, bytes, &released) != 0) return PYTHON;
    if (!released || open_gate(&gate, socket, SENDING) == DONE) {
        SharedLock *lock = lock_of(socket);
        if (lock != NULL && !try_hold(lock)) lock = NULL;
        sent = send_waking(lock, &message, 1, gate.address, &error);
        if (lock != NULL) let_go(lock);
    }
    if (sent == 1) {
        count_down(&gate); /* libzmq has emptied the message: nothing is left to close */
        count_size(gate.direction, (size_t)PyBytes_GET_SIZE(bytes));
        return DONE;
    }
    zmq.msg_close_(&message);
    if (error != EAGAIN) return PYTHON;
    count_down(&gate);
    return refused(socket, 1);
}

/* Send all parts, a tuple or list of bytes. They are copied first: so nothing but libzmq can end it in the middle. If it
   does, the lock is still held. */
NOT_INLINED int try_send_parts(PyObject *socket, PyObject *parts) {
    Message in_place[MESSAGES_IN_PLACE], *messages = in_place;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(parts), made = 0, next = 0;
    Gate gate;
    int released = 0, outcome = PYTHON, error = 0;
    if (open_gate(&gate, socket, MESSAGE_SENDING) != DONE) return PYTHON;
    SharedLock *lock = lock_of(socket);
    if (lock != NULL && !try_hold(lock)) return PYTHON;
    if (count > MESSAGES_IN_PLACE) messages = PyMem_RawCalloc(count, sizeof *messages);
    while (messages != NULL && made < count &&
           make_message(&messages[made], PySequence_Fast_GET_ITEM(parts, made), &released) == 0)
        made++;
    int is_open = !released || lock != NULL || open_gate(&gate, socket, MESSAGE_SENDING) == DONE;
    if (is_open && made == count) {
        next = send_waking(lock, messages, count, gate.address, &error);
        outcome = next == count ? DONE : next > 0 || error == EAGAIN ? AGAIN : PYTHON;
        stopped.error = error;
        stopped.sent = next;
        stopped.lock = outcome == AGAIN && next > 0 ? (SharedLock *)Py_XNewRef((PyObject *)lock) : NULL;
        if (outcome != PYTHON) count_down(&gate);
        for (Py_ssize_t i = 0; outcome == DONE && i < count; i++)
            count_size(gate.direction, (size_t)PyBytes_GET_SIZE(PySequence_Fast_GET_ITEM(parts, i)));
    }
    for (Py_ssize_t i = next; i < made; i++) zmq.msg_close_(&messages[i]);
    if (messages != in_place) PyMem_RawFree(messages);
    if (lock != NULL && !(outcome == AGAIN && next > 0)) let_go(lock);
    return outcome == AGAIN && next == 0 ? refused(socket, 1) : outcome;
}

/* Receive one part: its bytes; or NULL with libzmq's `error`, or with an exception and no `error`. If it has `arrived`, it
   is taken from there. */
static PyObject *receive_part(void *address, Sleeper *arrived, int *more, int *released, int *error) {
    Message own, *message = arrived == NULL ? &own : message_of(arrived);
    if (arrived == NULL) {
        zmq.msg_init_(message);
        if (zmq.msg_recv_(message, address, DONTWAIT) < 0) {
            *error = zmq.errno_();
            zmq.msg_close_(message);
            return NULL;
        }
    }
    *error = 0;
    *more = zmq.msg_more_(message) != 0;
    size_t size = zmq.msg_size_(message);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (bytes != NULL && size > 0) *released |= copy(PyBytes_AS_STRING(bytes), zmq.msg_data_(message), size);
    zmq.msg_close_(message);
    if (arrived != NULL) zmq.msg_init_(message);
    return bytes;
}

PyObject *taken;

NOT_INLINED int try_recv(PyObject *socket) {
    Gate gate;
    int more, released = 0, error = 0;
    int gates = open_gate(&gate, socket, RECEIVING);
    if (gates != DONE) return gates;
    count_down(&gate); /* before other threads may run; if Python has to call again it counts twice */
    SharedLock *lock = lock_of(socket);
    /* No other thread runs from here to where `taken` is read. */
    taken = receive_part(gate.address, NULL, &more, &released, &error);
    if (taken != NULL) note_received(lock, socket, gate.direction, taken);
    return taken != NULL ? DONE : error == EAGAIN ? refused(socket, 0) : error != 0 ? PYTHON : FAILED;
}

/* What a sleep has received is taken. */
static void end_receiving(SharedLock *lock) {
    Sleeper *arrived = lock->arrived;
    lock->arrived = NULL;
    let_go(lock);
    Py_DECREF(arrived);
}

/* Take what a sleep has received, and count the call. */
NOT_INLINED int take_recv(PyObject *socket) {
    SharedLock *lock = received_on;
    Gate gate = {NULL, SLOT(socket, RECEIVING), calls_left(SLOT(socket, RECEIVING))};
    int more, released = 0, error = 0;
    if (gate.calls_left > 0) count_down(&gate);
    PyObject *bytes = receive_part(NULL, lock->arrived, &more, &released, &error);
    if (bytes != NULL) note_received(lock, socket, gate.direction, bytes);
    end_receiving(lock);
    taken = bytes;
    return bytes != NULL ? DONE : FAILED;
}

/* recv(socket, flags, copy, track): as pyzmq's own `recv`, which does what is not usual. For `SocketState.perform`. */
static PyObject *receive(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    int more, released = 0, error = 0;
    void *address = NULL;
    if (count == 4 && PyLong_CheckExact(args[1]) && PyLong_AsLong(args[1]) == DONTWAIT && args[2] == Py_True &&
        args[3] == Py_False)
        address = address_of(args[0]);
    PyObject *bytes = address == NULL ? NULL : receive_part(address, NULL, &more, &released, &error);
    if (bytes != NULL || PyErr_Occurred()) return bytes;
    if (error == EAGAIN) return PyObject_CallFunction(green.raise_error, "i", error);
    return PyObject_Vectorcall(pyzmq.recv, args, count, NULL);
}

static int receive_parts(PyObject *socket, PyObject *parts, const Gate *gate, SharedLock *lock) {
    void *address = gate->address;
    int more = 1, released = 0, error = 0;
    while (more) {
        PyObject *bytes = NULL;
        Sleeper *arrived = lock == NULL || PyList_GET_SIZE(parts) > 0 ? NULL : lock->arrived;
        if (released && lock == NULL) address = address_of(socket); /* another thread may have closed it meanwhile */
        released = 0;
        error = ENOTSOCK;
        if (address != NULL) bytes = receive_part(address, arrived, &more, &released, &error);
        if (bytes == NULL && error != 0 && PyList_GET_SIZE(parts) == 0) return error == EAGAIN ? AGAIN : PYTHON;
        if (bytes == NULL && error != 0) /* the rest is lost, as in pyzmq: libzmq hands over whole messages or none */
            Py_XDECREF(PyObject_CallFunction(green.raise_error, "i", error));
        int kept = bytes != NULL && PyList_Append(parts, bytes) == 0;
        if (kept) note_received(lock, socket, gate->direction, bytes);
        Py_XDECREF(bytes);
        if (!kept) return FAILED;
    }
    return DONE;
}

/* Receive all parts into an empty list. The lock is held: the GIL may be released in the middle of the message. */
NOT_INLINED int try_recv_parts(PyObject *socket, PyObject *parts) {
    Gate gate;
    if (open_gate(&gate, socket, MESSAGE_RECEIVING) != DONE) return PYTHON;
    SharedLock *lock = lock_of(socket);
    if (lock != NULL && !try_hold(lock)) return PYTHON;
    count_down(&gate);
    int outcome = receive_parts(socket, parts, &gate, lock);
    if (lock != NULL) let_go(lock);
    return outcome == AGAIN ? refused(socket, 0) : outcome;
}

/* The same, of which a sleep has received the first part. */
NOT_INLINED int take_recv_parts(PyObject *socket, PyObject *parts) {
    SharedLock *lock = received_on;
    Gate gate = {origin_of(lock->arrived), SLOT(socket, RECEIVING), calls_left(SLOT(socket, RECEIVING))};
    if (gate.calls_left > 0) count_down(&gate);
    int outcome = receive_parts(socket, parts, &gate, lock);
    end_receiving(lock);
    return outcome;
}

int rest(PyObject *socket, int way) {
    SharedLock *lock = lock_of(socket);
    int outcome = AGAIN;
    admitted = NULL;
    if (lock != NULL) outcome = sleep_on(lock, socket, way, 0);
    if (outcome == RETRY || outcome == RECEIVED) refill(lock, SLOT(socket, way)); /* a new turn */
    if (outcome == FAILED && way == SENDING) close_gate(SLOT(socket, way));
    return outcome;
}

int can_receive(PyObject *socket, int whole) {
    Gate gate;
    return open_gate(&gate, socket, whole ? MESSAGE_RECEIVING : RECEIVING) == DONE;
}

int rest_first(PyObject *socket, int whole) {
    SharedLock *lock = NULL;
    if (has_answered() && can_receive(socket, whole)) lock = lock_of(socket);
    int outcome = lock == NULL ? RETRY : sleep_on(lock, socket, RECEIVING, 1);
    /* A sleep begins a new turn. What was there at once counts, or a thread that never sleeps would never end one. */
    if (outcome == RECEIVED && has_slept(lock->arrived)) refill(lock, SLOT(socket, RECEIVING));
    return outcome;
}

/* --- options ------------------------------------------------------------------------------------------------------ */

/* The address of a socket of pyzmq's, green or plain, if it is open; else NULL, without an error. */
static void *any_address_of(PyObject *socket) {
    if (!PyObject_TypeCheck(socket, PyDescr_TYPE(pyzmq.closed)) || is_closed(socket)) return NULL;
    PyObject *number = pyzmq.underlying->d_getset->get(socket, pyzmq.underlying->d_getset->closure);
    void *address = number == NULL ? NULL : PyLong_AsVoidPtr(number);
    Py_XDECREF(number);
    if (address == NULL) PyErr_Clear();
    return address;
}

/* get_option(socket, option): as pyzmq's own `get`, which answers where the option is no C int, and raises where libzmq
   has an error. */
static PyObject *get_option(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    if (count == 2 && PyLong_Check(args[1])) {
        int value = 0, overflow;
        size_t size = sizeof value;
        long option = PyLong_AsLongAndOverflow(args[1], &overflow);
        if (!overflow && option >= 0 && option < OPTIONS && pyzmq.is_integer[option]) {
            void *address = address_of(args[0]);
            if (address == NULL) address = any_address_of(args[0]);
            if (address != NULL && zmq.getsockopt_(address, (int)option, &value, &size) == 0 && size == sizeof value)
                return PyLong_FromLong(value);
        }
    }
    return PyObject_Vectorcall(pyzmq.get, args, count, NULL);
}

/* --- the module --------------------------------------------------------------------------------------------------- */

static PyMethodDef functions[] = {
    {"load", load_libzmq, METH_O, "Find libzmq's functions in a loaded library, and return libzmq's version."},
    {"use_pyzmq", use_pyzmq, METH_VARARGS, "Say what pyzmq's Socket is."},
    {"use", use, METH_VARARGS, "Say what greenzmq's classes are."},
    {"recv", (PyCFunction)(void (*)(void))receive, METH_FASTCALL, "Receive a part, as pyzmq's own recv does."},
    {"get_option", (PyCFunction)(void (*)(void))get_option, METH_FASTCALL, "Read an option, as pyzmq's own get does."},
    {NULL, NULL, 0, NULL},
};

static int set_up(PyObject *module) {
    static int64_t interpreter = -1; /* what is kept here belongs to one interpreter */
    int64_t this_one = PyInterpreterState_GetID(PyInterpreterState_Get());
    if (interpreter != -1 && interpreter != this_one) {
        PyErr_SetString(PyExc_ImportError, "another interpreter of the process uses it");
        return -1;
    }
    interpreter = this_one;
    if (PyModule_AddIntMacro(module, INTERFACE) < 0) return -1;
    return set_up_methods(module) == 0 ? set_up_shared(module) : -1;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, set_up},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,  .m_name = "_fastpath", .m_doc = "The compiled fast path; see greenzmq.sockets.accelerator.",
    .m_methods = functions, .m_slots = slots,
};

PyMODINIT_FUNC PyInit__fastpath(void) {
    return PyModuleDef_Init(&definition);
}
