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
   - From the look at the gate to the end of the call no Python code runs: what is allocated there starts no collection.

   A socket that native threads share has a `SharedLock` in the place of its address; see _shared.c. */

#include "_fastpath.h"

#include <dlfcn.h>
#include <string.h>
#include <structmember.h>

#define BIG 65536           /* octets from which on the GIL is released, as pyzmq's COPY_THRESHOLD */
#define MESSAGES_IN_PLACE 8 /* parts of a message that need no allocation */
#define OPTIONS 256         /* options with a larger number are pyzmq's affair */
#define ONE_MORE 4096       /* octets that count as much as a call, since to copy them takes as long */

/* --- what is known of libzmq, of pyzmq, and of the Python side ------------------------------------------------------ */

#define SYMBOL(name, result, arguments) {"zmq_" #name, &zmq.name##_},
struct Zmq zmq;
static const struct {
    const char *name;
    void *place;
} SYMBOLS[] = {FUNCTIONS(SYMBOL)};

/* load(path): find the functions in the shared library at `path`, which is loaded already, and in those that it needs.
   A static libzmq keeps its names to itself: then there is nothing to find. */
static PyObject *load(PyObject *Py_UNUSED(module), PyObject *path) {
    PyObject *encoded;
    if (!PyUnicode_FSConverter(path, &encoded)) return NULL;
    void *library = dlopen(PyBytes_AS_STRING(encoded), RTLD_LAZY | RTLD_NOLOAD);
    Py_DECREF(encoded);
    if (library == NULL) return PyErr_Format(PyExc_ImportError, "%S is not a loaded library", path);
    /* `library` is never closed, as its functions are used from now on. */
    for (size_t i = 0; i < Py_ARRAY_LENGTH(SYMBOLS); i++) {
        void *symbol = dlsym(library, SYMBOLS[i].name);
        if (symbol == NULL)
            return PyErr_Format(PyExc_ImportError, "there is no %s in what %S needs", SYMBOLS[i].name, path);
        memcpy(SYMBOLS[i].place, &symbol, sizeof symbol);
    }
    int major, minor, patch;
    zmq.version_(&major, &minor, &patch);
    return Py_BuildValue("iii", major, minor, patch);
}

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
    PyObject *options;
    PyTypeObject *kind = &PyGetSetDescr_Type;
    if (!PyArg_ParseTuple(args, "O!O!OOS", kind, &pyzmq.closed, kind, &pyzmq.underlying, &pyzmq.get, &pyzmq.recv,
                          &options))
        return NULL;
    Py_INCREF(args); /* for good, and so all that is in it */
    memset(pyzmq.is_integer, 0, sizeof pyzmq.is_integer);
    for (Py_ssize_t i = 0; i < PyBytes_GET_SIZE(options); i++)
        pyzmq.is_integer[(unsigned char)PyBytes_AS_STRING(options)[i]] = 1;
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

#define SLOT(object, slot) (*(PyObject **)((char *)(object) + green.offset[slot]))

/* Whether an object is of a class or a subclass. `seen` is the first type that was: most programs use no other, and to
   walk along the bases for each call would take longer than all else here. */
static int is_a(PyObject *object, PyTypeObject *class, PyTypeObject **seen) {
    if (object == NULL) return 0;
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
INLINED static void *address_of(PyObject *socket) {
    static PyTypeObject *socket_seen, *state_seen;
    if (!is_a(socket, green.socket, &socket_seen) || !is_a(SLOT(socket, STATE), green.state, &state_seen)) return NULL;
    PyObject *address = SLOT(SLOT(socket, STATE), ADDRESS);
    if (address == NULL || is_closed(socket)) return NULL;
    return PyLong_CheckExact(address) ? PyLong_AsVoidPtr(address) : free_address(address);
}

/* The address of a socket of pyzmq's, green or plain, if it is open; else NULL, without an error. */
static void *any_address_of(PyObject *socket) {
    if (!PyObject_TypeCheck(socket, PyDescr_TYPE(pyzmq.closed)) || is_closed(socket)) return NULL;
    PyObject *number = pyzmq.underlying->d_getset->get(socket, pyzmq.underlying->d_getset->closure);
    void *address = number == NULL ? NULL : PyLong_AsVoidPtr(number);
    Py_XDECREF(number);
    if (address == NULL) PyErr_Clear();
    return address;
}

PyObject *direction_of(PyObject *socket, int way) {
    static PyTypeObject *seen[STATE];
    return is_a(SLOT(socket, way), green.direction, &seen[way]) ? SLOT(socket, way) : NULL;
}

SharedLock *lock_of(PyObject *socket) {
    PyObject *lock = SLOT(SLOT(socket, STATE), ADDRESS);
    return lock != NULL && Py_IS_TYPE(lock, &SharedLock_Type) ? (SharedLock *)lock : NULL;
}

INLINED int is_here(PyObject *reference) {
    if (reference == NULL || !PyWeakref_CheckRefExact(reference)) return 0;
    PyObject *last = referent(reference);
    PyObject *here = PyCFunction_GET_FUNCTION(green.getcurrent)(PyCFunction_GET_SELF(green.getcurrent), NULL);
    if (last == NULL || here == NULL) PyErr_Clear();
    Py_XDECREF(last); /* as here is alive it is the same object, or was another one */
    Py_XDECREF(here);
    return last != NULL && last == here;
}

long calls_left(PyObject *direction) {
    PyObject *left = SLOT(direction, CALLS_LEFT);
    return left != NULL && PyLong_CheckExact(left) ? PyLong_AsLong(left) : 0;
}

void set_calls_left(PyObject *direction, long number) {
    Py_XSETREF(SLOT(direction, CALLS_LEFT), PyLong_FromLong(number)); /* CPython keeps small numbers: no allocation */
}

INLINED static int pass_gate(Gate *gate, PyObject *socket, int way) {
    if ((gate->address = address_of(socket)) == NULL) return PYTHON;
    if ((gate->direction = direction_of(socket, way)) == NULL) return PYTHON;
    gate->calls_left = calls_left(gate->direction);
    if (gate->calls_left <= 0) return CLOSED;
    return IS_SEND(way) || is_here(SLOT(gate->direction, LAST_RECEIVER)) ? DONE : CLOSED;
}

NOT_INLINED int is_gate_open(PyObject *socket, int way) {
    Gate gate;
    return pass_gate(&gate, socket, way) == DONE;
}

/* The call has sent or received so many octets: large ones end a turn sooner. */
static void count_size(PyObject *direction, Py_ssize_t size) {
    if (size < ONE_MORE) return;
    long left = calls_left(direction), more = size / ONE_MORE < LONG_MAX ? (long)(size / ONE_MORE) : LONG_MAX;
    if (left > 0) set_calls_left(direction, left > more ? left - more : 0);
}

/* --- one attempt, without a wait -----------------------------------------------------------------------------------
   The functions that have a Message, or anything that is pointed to, on their stack return before greenlets may switch:
   greenlet copies the stack of one that parks, and a checker of addresses would object. So they are not inlined. */

struct Stopped stopped;
PyObject *taken;

/* Copy, without the GIL if that takes long. Returns whether it was released. */
static int copy(void *to, const void *from, size_t size) {
    PyThreadState *released = size < BIG ? NULL : PyEval_SaveThread();
    memcpy(to, from, size);
    if (released != NULL) PyEval_RestoreThread(released);
    return released != NULL;
}

/* A message with these bytes: 0, or -1 if there is no memory. Adds to `released` whether the GIL was. */
static int make_message(Message *message, PyObject *bytes, int *released) {
    size_t size = (size_t)PyBytes_GET_SIZE(bytes);
    if (zmq.msg_init_size_(message, size) != 0) return -1;
    if (size > 0) *released |= copy(zmq.msg_data_(message), PyBytes_AS_STRING(bytes), size);
    return 0;
}

Py_ssize_t send_parts(Message *messages, Py_ssize_t count, void *address, int *error) {
    Py_ssize_t next = 0;
    while (next < count && zmq.msg_send_(&messages[next], address, DONTWAIT | (next + 1 < count) * SNDMORE) >= 0)
        next++; /* libzmq has emptied the message: nothing is left to close */
    *error = next < count ? zmq.errno_() : 0;
    return next;
}

/* Send bytes, or a tuple of bytes as one message. All are copied first: only libzmq can end it in the middle. */
NOT_INLINED static int try_send(PyObject *socket, int way, PyObject *bytes) {
    Message in_place[MESSAGES_IN_PLACE], *messages = in_place;
    int is_tuple = PyTuple_CheckExact(bytes), released = 0, error = 0;
    PyObject **parts = is_tuple ? &PyTuple_GET_ITEM(bytes, 0) : &bytes;
    Py_ssize_t count = is_tuple ? PyTuple_GET_SIZE(bytes) : 1, made = 0, sent = 0, size = 0;
    Gate gate;
    SharedLock *lock = NULL;
    int outcome = pass_gate(&gate, socket, way);
    if (outcome != DONE) return outcome;
    if (count > MESSAGES_IN_PLACE) messages = PyMem_RawCalloc(count, sizeof *messages);
    while (messages != NULL && made < count && make_message(&messages[made], parts[made], &released) == 0)
        size += PyBytes_GET_SIZE(parts[made++]) / ONE_MORE * ONE_MORE;
    if (made < count || (released && !is_gate_open(socket, way))) {
        outcome = PYTHON;
    } else {
        if (released) gate.calls_left = calls_left(gate.direction); /* other threads may have made some */
        lock = lock_of(socket);
        sent = lock == NULL ? send_parts(messages, count, gate.address, &error)
                            : send_shared(lock, messages, count, gate.address, &error);
        outcome = sent == count ? DONE : sent > 0 || error == EAGAIN ? AGAIN : PYTHON;
        if (outcome != PYTHON) set_calls_left(gate.direction, gate.calls_left - 1); /* also one that met EAGAIN */
        if (outcome == DONE) count_size(gate.direction, size);
    }
    if (outcome != DONE) {
        stopped = (struct Stopped){sent, error, sent > 0 ? (SharedLock *)Py_XNewRef((PyObject *)lock) : NULL};
        for (Py_ssize_t i = sent; i < made; i++) zmq.msg_close_(&messages[i]);
    }
    if (messages != in_place) PyMem_RawFree(messages);
    return outcome;
}

/* Receive one part, which may have `arrived` already. NULL with libzmq's `error`, or with an exception and no `error`. */
INLINED static PyObject *receive_part(void *address, Message *arrived, int *more, int *released, int *error) {
    Message own, *message = arrived == NULL ? &own : arrived;
    *error = 0;
    if (arrived == NULL) zmq.msg_init_(message);
    if (arrived == NULL && zmq.msg_recv_(message, address, DONTWAIT) < 0) {
        *error = zmq.errno_();
        zmq.msg_close_(message);
        return NULL;
    }
    *more = zmq.msg_more_(message) != 0;
    size_t size = zmq.msg_size_(message);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (bytes != NULL && size > 0) *released |= copy(PyBytes_AS_STRING(bytes), zmq.msg_data_(message), size);
    zmq.msg_close_(message);
    if (arrived != NULL) zmq.msg_init_(message);
    return bytes;
}

INLINED int receive_parts(PyObject *socket, PyObject *parts, const Gate *gate, SharedLock *lock, Message *arrived) {
    void *address = gate->address;
    int more = 1, released = 0, error = 0;
    for (int is_first = 1; more; is_first = 0) {
        PyObject *bytes = NULL;
        if (released && lock == NULL) address = any_address_of(socket); /* or NULL, as another thread may close it */
        released = 0;
        error = ENOTSOCK;
        if (address != NULL) bytes = receive_part(address, is_first ? arrived : NULL, &more, &released, &error);
        if (bytes == NULL && error != 0 && is_first) return error == EAGAIN ? AGAIN : PYTHON;
        if (bytes == NULL && error != 0) /* the rest is lost, as in pyzmq: libzmq hands over whole messages or none */
            Py_XDECREF(PyObject_CallFunction(green.raise_error, "i", error));
        if (bytes == NULL) return FAILED;
        count_size(gate->direction, PyBytes_GET_SIZE(bytes));
        if (lock != NULL) note_received(lock, socket);
        if (parts == NULL) { /* no other thread runs from here to where `taken` is read */
            taken = bytes;
            return DONE;
        }
        int kept = PyList_Append(parts, bytes) == 0;
        Py_DECREF(bytes);
        if (!kept) return FAILED;
    }
    return DONE;
}

/* Receive one part, which is `taken` then; or all parts into an empty list. */
NOT_INLINED static int try_recv(PyObject *socket, int way, PyObject *parts) {
    Gate gate;
    int outcome = pass_gate(&gate, socket, way);
    if (outcome != DONE) return outcome;
    SharedLock *lock = lock_of(socket);
    if (lock != NULL) return receive_shared(lock, socket, parts, &gate);
    set_calls_left(gate.direction, gate.calls_left - 1); /* before other threads may run */
    return receive_parts(socket, parts, &gate, NULL, NULL);
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

/* --- options ------------------------------------------------------------------------------------------------------ */

/* get_option(socket, option): as pyzmq's own `get`, which answers where the option is no C int, and raises where libzmq
   has an error. */
static PyObject *get_option(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    int overflow, value = 0;
    size_t size = sizeof value;
    long option = count == 2 && PyLong_Check(args[1]) ? PyLong_AsLongAndOverflow(args[1], &overflow) : -1;
    if (option >= 0 && option < OPTIONS && pyzmq.is_integer[option]) {
        void *address = address_of(args[0]);
        if (address == NULL) address = any_address_of(args[0]);
        if (address != NULL && zmq.getsockopt_(address, (int)option, &value, &size) == 0 && size == sizeof value)
            return PyLong_FromLong(value);
    }
    return PyObject_Vectorcall(pyzmq.get, args, count, NULL);
}

/* --- FastMethod: a method of greenzmq's Socket, written in Python, whose usual case is done here -------------------- */

static PyObject *names[3], *defaults[3];  /* of the arguments flags, copy and track */
static PyObject *name_of_perform, *usual; /* (copy, track), as `perform` gets them */

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *function; /* the method in Python */
    PyObject *then;     /* what follows an attempt that met EAGAIN: a function */
    int performs;       /* or `SocketState.perform` with that as its call */
    int sleeps;         /* it may sleep on a socket that threads share, and `then` knows of that */
    int way;            /* RECEIVING to MESSAGE_SENDING */
    PyObject *dict;     /* for functools.update_wrapper */
    PyObject *weakrefs;
} FastMethod;

/* Whether the arguments after the first `required` ones are flags=0, copy=True, track=False, as far as they are given.
   If one is given twice Python has to say so. */
INLINED static int are_defaults(PyObject *const *args, Py_ssize_t count, Py_ssize_t required, PyObject *kwnames) {
    Py_ssize_t optional = count - required;
    if (optional < 0 || optional > 3) return 0;
    for (Py_ssize_t i = 0; i < optional; i++)
        if (args[required + i] != defaults[i]) return 0;
    Py_ssize_t keywords = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < keywords; i++) {
        Py_ssize_t which = optional; /* those before it were given by position */
        while (which < 3 && PyTuple_GET_ITEM(kwnames, i) != names[which]) which++;
        if (which == 3 || args[count + i] != defaults[which]) return 0;
    }
    return 1;
}

/* Go on in `SocketState.perform`, in the place of the method in Python.

   A greenlet that waits keeps a copy of its stack, so little is to stand there. The arguments do not, so that the
   compiler can leave this frame, and the caller's, with the call that ends it. They and the function are borrowed: Python
   takes them over before any other code runs. Not so 3.10, and what takes any number of arguments: there the garbage
   collector may run first. Nor what observes `perform`, and stands in its place; that is called as any object is. */
static PyObject *perform(const FastMethod *self, PyObject *socket, PyObject *call_args, int outcome) {
#if PY_VERSION_HEX < 0x030B0000
    PyObject *args[7];
#else
    static PyObject *args[7];
#endif
    PyObject *state = SLOT(socket, STATE), *direction = SLOT(socket, self->way);
    PyObject *met_again = outcome == AGAIN ? Py_True : Py_False;
    PyObject *function = PyObject_GetAttr((PyObject *)Py_TYPE(state), name_of_perform);
    if (function == NULL) return NULL;
    int is_simple = PyFunction_Check(function) && Py_REFCNT(function) > 1 &&
                    !(((PyCodeObject *)PyFunction_GET_CODE(function))->co_flags & (CO_VARARGS | CO_VARKEYWORDS));
    Py_DECREF(function); /* the class keeps it */
    if (!is_simple)
        return PyObject_CallMethodObjArgs(state, name_of_perform, socket, direction, self->then, defaults[0], call_args,
                                          met_again, NULL);
    args[0] = state, args[1] = socket, args[2] = direction, args[3] = self->then;
    args[4] = defaults[0], args[5] = call_args, args[6] = met_again;
    return PyVectorcall_Function(function)(function, args, 7, NULL);
}

#define IN_PYTHON PyObject_Vectorcall(self->function, args, nargsf, kwnames)

/* What is to be sent, if that is plain: bytes, or a tuple of them, which nobody can change in a wait. Or NULL, perhaps
   with an exception. To make a tuple may run the garbage collector: only then are the parts what they are. */
static PyObject *plain_bytes(PyObject *data, int way) {
    if (way == SENDING) return PyBytes_CheckExact(data) ? Py_NewRef(data) : NULL;
    if (!PyList_CheckExact(data) && !PyTuple_CheckExact(data)) return NULL;
    PyObject *parts = PySequence_Tuple(data);
    Py_ssize_t count = parts == NULL ? 0 : PyTuple_GET_SIZE(parts), plain = 0;
    while (plain < count && PyBytes_CheckExact(PyTuple_GET_ITEM(parts, plain))) plain++;
    if (count > 0 && plain == count) return parts;
    Py_XDECREF(parts);
    return NULL;
}

/* What follows an attempt that was stopped by an error. In the middle of a message the lock is held to its end, if there
   is one: nobody else's parts come in between. */
static PyObject *send_again(PyObject *then, PyObject *socket, PyObject *data, struct Stopped at, Sleeper *used) {
    PyObject *result = end_sleep(used, socket, PyObject_CallFunction(then, "OOni", socket, data, at.sent, at.error));
    if (at.lock != NULL) let_go(at.lock);
    Py_XDECREF(at.lock);
    return result;
}

static PyObject *call_send(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    const FastMethod *self = (FastMethod *)callable;
    if (!are_defaults(args, PyVectorcall_NARGS(nargsf), 2, kwnames)) return IN_PYTHON;
    PyObject *data = plain_bytes(args[1], self->way), *result = NULL;
    if (data == NULL) return PyErr_Occurred() ? NULL : IN_PYTHON;
    int outcome = RETRY;
    struct Stopped at = {0};
    Sleeper *used = NULL;
    while (outcome == RETRY) {
        outcome = try_send(args[0], self->way, data);
        if (outcome != AGAIN) break;
        at = stopped; /* read at once, as is `admitted`: other threads may send in a wait */
        if (at.sent > 0 || !self->sleeps) break;
        outcome = rest(args[0], self->way);
        used = admitted;
    }
    if (outcome == DONE) result = Py_NewRef(Py_None);
    if ((outcome == AGAIN || outcome == CLOSED) && self->performs) {
        PyObject *call_args = PyTuple_Pack(3, data, defaults[1], defaults[2]);
        if (call_args != NULL) result = perform(self, args[0], call_args, outcome);
        Py_XDECREF(call_args);
    } else if (outcome == AGAIN) {
        result = send_again(self->then, args[0], data, at, used);
    } else if (outcome == PYTHON || outcome == CLOSED) { /* with the parts that there were at the call */
        result = PyObject_CallFunctionObjArgs(self->function, args[0], data, NULL);
    }
    Py_DECREF(data);
    return result;
}

static PyObject *call_recv(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    const FastMethod *self = (FastMethod *)callable;
    if (!are_defaults(args, PyVectorcall_NARGS(nargsf), 1, kwnames)) return IN_PYTHON;
    /* Made before the look at the gate: in Python 3.10 and 3.11 this may run the garbage collector, and so anything. */
    PyObject *parts = self->way == MESSAGE_RECEIVING ? PyList_New(0) : NULL;
    if (self->way == MESSAGE_RECEIVING && parts == NULL) return NULL;
    int outcome = self->sleeps ? rest_first(args[0], self->way) : RETRY;
    while (outcome == RETRY) {
        outcome = try_recv(args[0], self->way, parts);
        if (outcome == AGAIN && self->sleeps) outcome = rest(args[0], self->way);
    }
    Sleeper *used = self->sleeps ? admitted : NULL;
    if (outcome == RECEIVED) outcome = take_arrived(args[0], parts);
    if (outcome == DONE) return parts != NULL ? parts : taken;
    Py_XDECREF(parts);
    if (outcome == FAILED) return NULL;
    if (outcome == PYTHON || (outcome == CLOSED && !self->performs)) return IN_PYTHON;
    if (self->performs) return perform(self, args[0], usual, outcome);
    return end_sleep(used, args[0], PyObject_CallOneArg(self->then, args[0]));
}

/* FastMethod(way, function, then, performs, sleeps) */
static PyObject *FastMethod_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    PyObject *function, *then;
    int way, performs, sleeps;
    if (!PyArg_ParseTuple(args, "iOOpp", &way, &function, &then, &performs, &sleeps)) return NULL;
    if (way < 0 || way >= STATE) return PyErr_Format(PyExc_ValueError, "there is no way %d", way);
    FastMethod *self = (FastMethod *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->vectorcall = IS_SEND(way) ? call_send : call_recv;
    self->function = Py_NewRef(function);
    self->then = Py_NewRef(then);
    self->performs = performs;
    self->sleeps = sleeps;
    self->way = way;
    return (PyObject *)self;
}

static int FastMethod_traverse(FastMethod *self, visitproc visit, void *arg) {
    Py_VISIT(self->function);
    Py_VISIT(self->then);
    Py_VISIT(self->dict);
    return 0;
}

static void FastMethod_dealloc(FastMethod *self) {
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL) PyObject_ClearWeakRefs((PyObject *)self);
    Py_XDECREF(self->function);
    Py_XDECREF(self->then);
    Py_XDECREF(self->dict);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *FastMethod_get(PyObject *self, PyObject *object, PyObject *Py_UNUSED(type)) {
    return object == NULL || object == Py_None ? Py_NewRef(self) : PyMethod_New(self, object);
}

static PyObject *FastMethod_reduce(PyObject *self, PyObject *Py_UNUSED(nothing)) {
    return PyObject_GetAttrString(self, "__qualname__"); /* pickled and copied by its name, as a function */
}

static PyMethodDef methods[] = {{"__reduce__", FastMethod_reduce, METH_NOARGS, NULL}, {NULL}};
static PyGetSetDef attributes[] = {{"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL}, {NULL}};

static PyTypeObject FastMethod_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "greenzmq.sockets._fastpath.FastMethod",
    .tp_doc = "A method written in Python, whose usual case is done in C.",
    .tp_basicsize = sizeof(FastMethod),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .tp_new = FastMethod_new,
    .tp_dealloc = (destructor)FastMethod_dealloc,
    .tp_traverse = (traverseproc)FastMethod_traverse,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(FastMethod, vectorcall),
    .tp_dictoffset = offsetof(FastMethod, dict),
    .tp_weaklistoffset = offsetof(FastMethod, weakrefs),
    .tp_descr_get = FastMethod_get,
    .tp_methods = methods,
    .tp_getset = attributes,
};

/* --- the module --------------------------------------------------------------------------------------------------- */

static PyMethodDef functions[] = {
    {"load", load, METH_O, "Find libzmq's functions in a loaded library, and return libzmq's version."},
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
    const char *const words[] = {"flags", "copy", "track"};
    for (int i = 0; i < 3; i++)
        if ((names[i] = PyUnicode_InternFromString(words[i])) == NULL) return -1;
    defaults[0] = PyLong_FromLong(0); /* CPython's own, as the other two */
    defaults[1] = Py_True;
    defaults[2] = Py_False;
    name_of_perform = PyUnicode_InternFromString("perform");
    usual = PyTuple_Pack(2, Py_True, Py_False);
    if (name_of_perform == NULL || usual == NULL) return -1;
    if (PyModule_AddIntMacro(module, INTERFACE) < 0) return -1;
    return PyModule_AddType(module, &FastMethod_Type) == 0 ? set_up_shared(module) : -1;
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
