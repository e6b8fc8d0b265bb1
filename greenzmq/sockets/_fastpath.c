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

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#if defined(PYPY_VERSION) || defined(Py_GIL_DISABLED)
#error "the compiled fast path is for CPython with its lock"
#endif

#define DONTWAIT 1          /* ZMQ_DONTWAIT */
#define SNDMORE 2           /* ZMQ_SNDMORE */
#define BIG 65536           /* octets from which on the GIL is released, as pyzmq's COPY_THRESHOLD */
#define MESSAGES_IN_PLACE 8 /* parts of a message that need no allocation */
#define OPTIONS 256         /* options with a larger number are pyzmq's affair */

/* --- libzmq ------------------------------------------------------------------------------------------------------- */

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
#define SYMBOL(name, result, arguments) {"zmq_" #name, &zmq.name##_},
static struct {
    FUNCTIONS(FIELD)
} zmq;
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
    PyObject *get;                            /* the method of that */
    unsigned char is_integer[OPTIONS];        /* which of libzmq's options are a C int */
} pyzmq;

static PyObject *names[3], *defaults[3]; /* of the arguments flags, copy and track */

/* use_pyzmq(closed, underlying, get, integer_options): the descriptors of two attributes of pyzmq's Socket, its `get`,
   and the numbers of the options that are a C int. */
static PyObject *use_pyzmq(PyObject *Py_UNUSED(module), PyObject *args) {
    PyGetSetDescrObject *closed, *underlying;
    PyObject *get;
    Py_buffer options;
    PyTypeObject *kind = &PyGetSetDescr_Type;
    if (!PyArg_ParseTuple(args, "O!O!Oy*", kind, &closed, kind, &underlying, &get, &options)) return NULL;
    memset(pyzmq.is_integer, 0, sizeof pyzmq.is_integer);
    for (Py_ssize_t i = 0; i < options.len; i++) pyzmq.is_integer[((unsigned char *)options.buf)[i]] = 1;
    PyBuffer_Release(&options);
    pyzmq.closed = (PyGetSetDescrObject *)Py_NewRef(closed);
    pyzmq.underlying = (PyGetSetDescrObject *)Py_NewRef(underlying);
    pyzmq.get = Py_NewRef(get);
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

/* Whether pyzmq says that its socket is closed. A failure counts as closed: Python finds out. */
static int is_closed(PyObject *socket) {
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
    if (address == NULL || !PyLong_CheckExact(address) || is_closed(socket)) return NULL;
    return PyLong_AsVoidPtr(address);
}

/* Whether this greenlet is the one that has received last: `last_receiver() is getcurrent()`. */
static int is_last_receiver(PyObject *direction) {
    PyObject *reference = SLOT(direction, LAST_RECEIVER);
    if (reference == NULL || !PyWeakref_CheckRefExact(reference)) return 0;
    PyObject *last = PyObject_CallNoArgs(reference);
    PyObject *here = PyCFunction_GET_FUNCTION(green.getcurrent)(PyCFunction_GET_SELF(green.getcurrent), NULL);
    if (last == NULL || here == NULL) PyErr_Clear();
    Py_XDECREF(last); /* as here is alive it is the same object, or was another one */
    Py_XDECREF(here);
    return last != NULL && last == here;
}

/* What the gate has let through, all of it borrowed, and true until Python code runs. */
typedef struct {
    void *address;
    PyObject *direction;
    long calls_left;
} Gate;

/* Whether the next call may take the fast path. */
static int open_gate(Gate *gate, PyObject *socket, int way) {
    static PyTypeObject *seen[STATE];
    if ((gate->address = address_of(socket)) == NULL) return 0;
    gate->direction = SLOT(socket, way);
    if (gate->direction == NULL || !is_a(gate->direction, green.direction, &seen[way])) return 0;
    PyObject *left = SLOT(gate->direction, CALLS_LEFT);
    gate->calls_left = left != NULL && PyLong_CheckExact(left) ? PyLong_AsLong(left) : 0;
    return gate->calls_left > 0 && (way == SENDING || way == MESSAGE_SENDING || is_last_receiver(gate->direction));
}

/* A call is made, or has met EAGAIN: it counts. */
static void count_down(const Gate *gate) {
    Py_XSETREF(SLOT(gate->direction, CALLS_LEFT), PyLong_FromLong(gate->calls_left - 1)); /* CPython keeps small ones */
}

/* --- one call ------------------------------------------------------------------------------------------------------
   The functions that have a Message, or anything that is pointed to, on their stack return before greenlets may switch:
   greenlet copies the stack of one that parks, and a checker of addresses would object. So they are not inlined. */

enum {
    DONE,
    AGAIN,  /* EAGAIN, and nothing was done */
    PYTHON, /* nothing was done: the Python method has to do it, or to raise the error */
    FAILED, /* an exception is set */
};

/* What try_send_parts has done, if it is AGAIN: how many parts were sent, and what ended it. */
static struct {
    Py_ssize_t sent;
    int error;
} stopped;

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

static NOT_INLINED int try_send(PyObject *socket, PyObject *bytes) {
    Message message;
    Gate gate;
    int released = 0;
    if (!open_gate(&gate, socket, SENDING) || make_message(&message, bytes, &released) != 0) return PYTHON;
    int is_open = !released || open_gate(&gate, socket, SENDING);
    if (is_open && zmq.msg_send_(&message, gate.address, DONTWAIT) >= 0) {
        count_down(&gate); /* libzmq has emptied the message: nothing is left to close */
        return DONE;
    }
    int again = is_open && zmq.errno_() == EAGAIN;
    zmq.msg_close_(&message);
    if (again) count_down(&gate);
    return again ? AGAIN : PYTHON;
}

/* Send all parts, a tuple or list of bytes. They are copied first: so nothing but libzmq can end it in the middle. */
static NOT_INLINED int try_send_parts(PyObject *socket, PyObject *parts) {
    Message in_place[MESSAGES_IN_PLACE], *messages = in_place;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(parts), made = 0, next = 0;
    Gate gate;
    int released = 0, outcome = PYTHON;
    if (!open_gate(&gate, socket, MESSAGE_SENDING)) return PYTHON;
    if (count > MESSAGES_IN_PLACE) messages = PyMem_RawCalloc(count, sizeof *messages);
    if (messages == NULL) return PYTHON;
    while (made < count && make_message(&messages[made], PySequence_Fast_GET_ITEM(parts, made), &released) == 0) made++;
    int is_open = !released || open_gate(&gate, socket, MESSAGE_SENDING);
    if (is_open && made == count) {
        while (next < count &&
               zmq.msg_send_(&messages[next], gate.address, DONTWAIT | (next + 1 < count) * SNDMORE) >= 0)
            next++;
        stopped.error = next < count ? zmq.errno_() : 0;
        stopped.sent = next;
        outcome = next == count ? DONE : next > 0 || stopped.error == EAGAIN ? AGAIN : PYTHON;
        if (outcome != PYTHON) count_down(&gate);
    }
    for (Py_ssize_t i = next; i < made; i++) zmq.msg_close_(&messages[i]);
    if (messages != in_place) PyMem_RawFree(messages);
    return outcome;
}

/* Receive one part: its bytes; or NULL with libzmq's `error`, or with an exception and no `error`. */
static PyObject *receive(void *address, int *more, int *released, int *error) {
    Message message;
    zmq.msg_init_(&message);
    if (zmq.msg_recv_(&message, address, DONTWAIT) < 0) {
        *error = zmq.errno_();
        zmq.msg_close_(&message);
        return NULL;
    }
    *error = 0;
    *more = zmq.msg_more_(&message) != 0;
    size_t size = zmq.msg_size_(&message);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (bytes != NULL && size > 0) *released |= copy(PyBytes_AS_STRING(bytes), zmq.msg_data_(&message), size);
    zmq.msg_close_(&message);
    return bytes;
}

/* What try_recv has received, if it is DONE. */
static PyObject *taken;

static NOT_INLINED int try_recv(PyObject *socket) {
    Gate gate;
    int more, released = 0, error = 0;
    if (!open_gate(&gate, socket, RECEIVING)) return PYTHON;
    count_down(&gate); /* before other threads may run; if Python has to call again it counts twice */
    taken = receive(gate.address, &more, &released, &error); /* no other thread runs from here to where it is read */
    return taken != NULL ? DONE : error == EAGAIN ? AGAIN : error != 0 ? PYTHON : FAILED;
}

/* Receive all parts into an empty list. */
static NOT_INLINED int try_recv_parts(PyObject *socket, PyObject *parts) {
    Gate gate;
    int more = 1, released = 0, error = 0;
    if (!open_gate(&gate, socket, MESSAGE_RECEIVING)) return PYTHON;
    count_down(&gate);
    while (more) {
        PyObject *bytes = NULL;
        if (released) gate.address = address_of(socket); /* another thread may have closed it meanwhile */
        released = 0;
        error = ENOTSOCK;
        if (gate.address != NULL) bytes = receive(gate.address, &more, &released, &error);
        if (bytes == NULL && error != 0 && PyList_GET_SIZE(parts) == 0) return error == EAGAIN ? AGAIN : PYTHON;
        if (bytes == NULL && error != 0) /* the rest is lost, as in pyzmq: libzmq hands over whole messages or none */
            Py_XDECREF(PyObject_CallFunction(green.raise_error, "i", error));
        int kept = bytes != NULL && PyList_Append(parts, bytes) == 0;
        Py_XDECREF(bytes);
        if (!kept) return FAILED;
    }
    return DONE;
}

/* --- FastMethod --------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *function; /* the method in Python */
    PyObject *again;    /* a function: what follows an attempt that met EAGAIN */
    PyObject *dict;     /* for functools.update_wrapper */
    PyObject *weakrefs;
} FastMethod;

/* Whether the arguments after the first `required` ones are flags=0, copy=True, track=False, as far as they are given.
   If one is given twice Python has to say so. */
static int are_defaults(PyObject *const *args, Py_ssize_t count, Py_ssize_t required, PyObject *kwnames) {
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

#define IN_PYTHON PyObject_Vectorcall(((FastMethod *)callable)->function, args, nargsf, kwnames)

static PyObject *call_send(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    Py_ssize_t count = PyVectorcall_NARGS(nargsf);
    if (are_defaults(args, count, 2, kwnames) && PyBytes_CheckExact(args[1])) {
        int outcome = try_send(args[0], args[1]);
        if (outcome == DONE) Py_RETURN_NONE;
        if (outcome == AGAIN)
            return PyObject_CallFunctionObjArgs(((FastMethod *)callable)->again, args[0], args[1], NULL);
    }
    return IN_PYTHON;
}

static PyObject *call_recv(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    Py_ssize_t count = PyVectorcall_NARGS(nargsf);
    if (are_defaults(args, count, 1, kwnames)) {
        int outcome = try_recv(args[0]);
        if (outcome == DONE) return taken;
        if (outcome == FAILED) return NULL;
        if (outcome == AGAIN) return PyObject_CallFunctionObjArgs(((FastMethod *)callable)->again, args[0], NULL);
    }
    return IN_PYTHON;
}

/* 1 if all parts are plain bytes and there is one, 2 if one of them is big; else 0. */
static int are_plain(PyObject *parts) {
    int found = 0;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(parts); i++) {
        PyObject *part = PySequence_Fast_GET_ITEM(parts, i);
        if (!PyBytes_CheckExact(part)) return 0;
        found |= PyBytes_GET_SIZE(part) < BIG ? 1 : 2;
    }
    return found & 2 ? 2 : found;
}

static PyObject *call_send_multipart(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    Py_ssize_t count = PyVectorcall_NARGS(nargsf);
    if (!are_defaults(args, count, 2, kwnames) || !(PyList_CheckExact(args[1]) || PyTuple_CheckExact(args[1])))
        return IN_PYTHON;
    PyObject *parts = args[1];
    int plain = are_plain(parts);
    if (plain == 2 && PyList_CheckExact(parts)) { /* another thread may change the list */
        parts = PyList_AsTuple(parts);
        if (parts == NULL) return NULL;
        plain = are_plain(parts);
    } else {
        Py_INCREF(parts);
    }
    int outcome = plain ? try_send_parts(args[0], parts) : PYTHON;
    PyObject *again = ((FastMethod *)callable)->again, *result = NULL;
    if (outcome == DONE) result = Py_NewRef(Py_None);
    if (outcome == AGAIN) result = PyObject_CallFunction(again, "OOni", args[0], parts, stopped.sent, stopped.error);
    if (outcome == PYTHON) result = IN_PYTHON;
    Py_DECREF(parts);
    return result;
}

static PyObject *call_recv_multipart(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    if (!are_defaults(args, PyVectorcall_NARGS(nargsf), 1, kwnames)) return IN_PYTHON;
    /* Made before the look at the gate: in Python 3.10 and 3.11 this may run the garbage collector, and so anything. */
    PyObject *parts = PyList_New(0);
    int outcome = parts == NULL ? FAILED : try_recv_parts(args[0], parts);
    if (outcome == DONE) return parts;
    Py_XDECREF(parts);
    if (outcome == FAILED) return NULL;
    if (outcome == AGAIN) return PyObject_CallFunctionObjArgs(((FastMethod *)callable)->again, args[0], NULL);
    return IN_PYTHON;
}

static const struct {
    const char *name;
    vectorcallfunc call;
} KINDS[] = {
    {"send", call_send},
    {"recv", call_recv},
    {"send_multipart", call_send_multipart},
    {"recv_multipart", call_recv_multipart},
};

/* FastMethod(kind, function, again) */
static PyObject *FastMethod_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    const char *kind;
    PyObject *function, *again;
    if (!PyArg_ParseTuple(args, "sOO", &kind, &function, &again)) return NULL;
    vectorcallfunc call = NULL;
    for (size_t i = 0; i < Py_ARRAY_LENGTH(KINDS); i++)
        if (strcmp(KINDS[i].name, kind) == 0) call = KINDS[i].call;
    if (call == NULL) return PyErr_Format(PyExc_ValueError, "there is no fast %s", kind);
    FastMethod *self = (FastMethod *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->vectorcall = call;
    self->function = Py_NewRef(function);
    self->again = Py_NewRef(again);
    return (PyObject *)self;
}

static int FastMethod_traverse(FastMethod *self, visitproc visit, void *arg) {
    Py_VISIT(self->function);
    Py_VISIT(self->again);
    Py_VISIT(self->dict);
    return 0;
}

static void FastMethod_dealloc(FastMethod *self) {
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL) PyObject_ClearWeakRefs((PyObject *)self);
    Py_XDECREF(self->function);
    Py_XDECREF(self->again);
    Py_XDECREF(self->dict);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *FastMethod_get(PyObject *self, PyObject *object, PyObject *Py_UNUSED(type)) {
    return object == NULL || object == Py_None ? Py_NewRef(self) : PyMethod_New(self, object);
}

/* As a function: pickled and copied by its name. */
static PyObject *FastMethod_reduce(PyObject *self, PyObject *Py_UNUSED(nothing)) {
    return PyObject_GetAttrString(self, "__qualname__");
}

static PyMethodDef FastMethod_methods[] = {
    {"__reduce__", FastMethod_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef FastMethod_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

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
    .tp_methods = FastMethod_methods,
    .tp_getset = FastMethod_getset,
};

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
    {"load", load, METH_O, "Find libzmq's functions in a loaded library, and return libzmq's version."},
    {"use_pyzmq", use_pyzmq, METH_VARARGS, "Say what pyzmq's Socket is."},
    {"use", use, METH_VARARGS, "Say what greenzmq's classes are."},
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
        if (names[i] == NULL && (names[i] = PyUnicode_InternFromString(words[i])) == NULL) return -1;
    if (defaults[0] == NULL && (defaults[0] = PyLong_FromLong(0)) == NULL) return -1;
    defaults[1] = Py_True;
    defaults[2] = Py_False;
    return PyModule_AddType(module, &FastMethod_Type);
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
