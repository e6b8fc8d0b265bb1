/* FastMethod: a method of greenzmq's Socket, written in Python, whose usual case is done in C (_fastpath.c). */

#include "_fastpath.h"

#include <structmember.h>

static PyObject *names[3], *defaults[3];  /* of the arguments flags, copy and track */
static PyObject *name_of_perform, *usual; /* (copy, track), as `perform` gets them */

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *function; /* the method in Python */
    PyObject *again;    /* a function: what follows an attempt that met EAGAIN; or NULL */
    PyObject *call;     /* then `SocketState.perform` follows, with this call */
    PyObject *dict;     /* for functools.update_wrapper */
    PyObject *weakrefs;
    int sleeps; /* it may sleep on a socket that threads share, and `again` knows of that */
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

static PyObject *end_wait(Sleeper *used, PyObject *socket, PyObject *result) {
    return used == NULL ? result : end_sleep(used, socket, result);
}

/* See `rest` and `rest_first`. A program may call the methods of `Socket` itself on a socket that threads share: these do
   not sleep. */
static int rest_after(PyObject *callable, PyObject *socket, int way) {
    admitted = NULL;
    return ((FastMethod *)callable)->sleeps ? rest(socket, way) : AGAIN;
}

static int rest_before(PyObject *callable, PyObject *socket, int whole) {
    return ((FastMethod *)callable)->sleeps ? rest_first(socket, whole) : RETRY;
}

/* Whether to call it allocates nothing that could make the garbage collector run, and somebody else keeps it. */
static int is_simple(PyObject *callable) {
    if (!PyFunction_Check(callable) || Py_REFCNT(callable) < 2) return 0;
    const PyCodeObject *code = (PyCodeObject *)PyFunction_GET_CODE(callable);
    return (code->co_flags & (CO_VARARGS | CO_VARKEYWORDS)) == 0;
}

/* Go on in `SocketState.perform`, in the place of the method in Python.

   A greenlet that waits keeps a copy of its stack, so little is to stand there. The arguments do not, so that the compiler
   can leave this frame, and the caller's, with the call that ends it. They and the function are borrowed: Python takes
   them over before any other code runs. Not so 3.10: to make the frame it may run the garbage collector. What observes
   `perform`, and stands in its place, may do the same, and is called as any other object is. */
static PyObject *perform(PyObject *socket, int way, PyObject *call, PyObject *call_args, int met_again) {
#if PY_VERSION_HEX < 0x030B0000
    PyObject *args[7];
#else
    static PyObject *args[7];
#endif
    PyObject *state = state_of(socket), *direction = direction_of(socket, way);
    PyObject *function = PyObject_GetAttr((PyObject *)Py_TYPE(state), name_of_perform);
    if (function == NULL) return NULL;
    int simple = is_simple(function);
    Py_DECREF(function); /* the class keeps it */
    if (!simple)
        return PyObject_CallMethodObjArgs(state, name_of_perform, socket, direction, call, defaults[0], call_args,
                                          met_again ? Py_True : Py_False, NULL);
    args[0] = state;
    args[1] = socket;
    args[2] = direction;
    args[3] = call;
    args[4] = defaults[0];
    args[5] = call_args;
    args[6] = met_again ? Py_True : Py_False;
    return PyVectorcall_Function(function)(function, args, 7, NULL);
}

static PyObject *perform_send(PyObject *socket, PyObject *bytes, PyObject *call, int met_again) {
    PyObject *args = PyTuple_Pack(3, bytes, defaults[1], defaults[2]);
    PyObject *result = args == NULL ? NULL : perform(socket, 1, call, args, met_again);
    Py_XDECREF(args);
    return result;
}

#define AGAIN_IN_PYTHON ((FastMethod *)callable)->again
#define CALL ((FastMethod *)callable)->call
#define IN_PYTHON PyObject_Vectorcall(((FastMethod *)callable)->function, args, nargsf, kwnames)

static PyObject *call_send(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    Py_ssize_t count = PyVectorcall_NARGS(nargsf);
    if (are_defaults(args, count, 2, kwnames) && PyBytes_CheckExact(args[1])) {
        int outcome;
        while ((outcome = try_send(args[0], args[1])) == AGAIN && (outcome = rest_after(callable, args[0], 1)) == RETRY)
            continue;
        if ((outcome == AGAIN || outcome == CLOSED) && CALL != NULL)
            return perform_send(args[0], args[1], CALL, outcome == AGAIN);
        if (outcome == AGAIN) {
            Sleeper *used = admitted;
            return end_wait(used, args[0], PyObject_CallFunctionObjArgs(AGAIN_IN_PYTHON, args[0], args[1], NULL));
        }
        if (outcome == DONE) Py_RETURN_NONE;
        if (outcome == FAILED) return NULL;
    }
    return IN_PYTHON;
}

static PyObject *call_recv(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    Py_ssize_t count = PyVectorcall_NARGS(nargsf);
    if (are_defaults(args, count, 1, kwnames)) {
        int outcome = rest_before(callable, args[0], 0);
        while (outcome == RETRY)
            if ((outcome = try_recv(args[0])) == AGAIN) outcome = rest_after(callable, args[0], 0);
        if (outcome == RECEIVED) outcome = take_recv(args[0]);
        if ((outcome == AGAIN || outcome == CLOSED) && CALL != NULL)
            return perform(args[0], 0, CALL, usual, outcome == AGAIN);
        if (outcome == AGAIN) {
            Sleeper *used = admitted;
            return end_wait(used, args[0], PyObject_CallFunctionObjArgs(AGAIN_IN_PYTHON, args[0], NULL));
        }
        if (outcome == DONE) return taken;
        if (outcome == FAILED) return NULL;
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

/* What follows when all parts, a tuple or NULL if there was no memory for it, could not be sent; NotImplemented says to
   try once more. In the middle of a message the lock, if there is one, is held to its end: nobody else's parts come in
   between. */
static PyObject *send_again(PyObject *callable, PyObject *socket, PyObject *parts, Py_ssize_t sent, int error,
                            SharedLock *lock) {
    PyObject *then = NULL;
    int outcome = parts == NULL ? FAILED : sent > 0 ? AGAIN : rest_after(callable, socket, 1);
    if (outcome == RETRY) then = Py_NewRef(Py_NotImplemented);
    if (outcome == AGAIN) {
        Sleeper *used = sent == 0 ? admitted : NULL;
        then = end_wait(used, socket, PyObject_CallFunction(AGAIN_IN_PYTHON, "OOni", socket, parts, sent, error));
    }
    if (lock != NULL) let_go(lock);
    Py_XDECREF(lock);
    return then;
}

static PyObject *call_send_multipart(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    Py_ssize_t count = PyVectorcall_NARGS(nargsf);
    if (!are_defaults(args, count, 2, kwnames) || !(PyList_CheckExact(args[1]) || PyTuple_CheckExact(args[1])))
        return IN_PYTHON;
    PyObject *parts = args[1];
    int plain = are_plain(parts);
    /* Where the GIL is released, to copy a big part or to send, another thread may change the list. */
    if ((plain == 2 || (plain && has_turn())) && PyList_CheckExact(parts)) {
        parts = PyList_AsTuple(parts);
        if (parts == NULL) return NULL;
        plain = are_plain(parts);
    } else {
        Py_INCREF(parts);
    }
    int outcome;
    PyObject *result = NULL;
    while ((outcome = plain ? try_send_parts(args[0], parts) : PYTHON) == AGAIN) {
        Py_ssize_t sent = stopped.sent;
        int error = stopped.error;
        SharedLock *lock = stopped.lock;
        PyObject *tuple = PySequence_Tuple(parts); /* the same, if it is one: others may change a list during a wait */
        Py_DECREF(parts);
        parts = tuple;
        result = send_again(callable, args[0], parts, sent, error, lock);
        if (result != Py_NotImplemented) break;
        Py_DECREF(result);
        plain = are_plain(parts); /* to make a tuple of a list may run the garbage collector, and so change it */
    }
    /* The arguments are the usual ones. A list may have changed since the call: what it had then is in the tuple. */
    if (outcome == PYTHON)
        result = parts == args[1]
                     ? IN_PYTHON
                     : PyObject_CallFunctionObjArgs(((FastMethod *)callable)->function, args[0], parts, NULL);
    if (outcome == DONE) result = Py_NewRef(Py_None);
    Py_XDECREF(parts);
    return result;
}

static PyObject *call_recv_multipart(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    if (!are_defaults(args, PyVectorcall_NARGS(nargsf), 1, kwnames)) return IN_PYTHON;
    /* Made before the look at the gate: in Python 3.10 and 3.11 this may run the garbage collector, and so anything. */
    PyObject *parts = PyList_New(0);
    int outcome = parts == NULL ? FAILED : rest_before(callable, args[0], 1);
    while (outcome == RETRY)
        if ((outcome = try_recv_parts(args[0], parts)) == AGAIN) outcome = rest_after(callable, args[0], 0);
    Sleeper *used = admitted;
    if (outcome == RECEIVED) outcome = take_recv_parts(args[0], parts);
    if (outcome == DONE) return parts;
    Py_XDECREF(parts);
    if (outcome == FAILED) return NULL;
    if (outcome == AGAIN) return end_wait(used, args[0], PyObject_CallFunctionObjArgs(AGAIN_IN_PYTHON, args[0], NULL));
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

/* FastMethod(kind, function, again, call, sleeps): one of `again` and `call` is None */
static PyObject *FastMethod_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    const char *kind;
    PyObject *function, *again, *then;
    int sleeps;
    if (!PyArg_ParseTuple(args, "sOOOp", &kind, &function, &again, &then, &sleeps)) return NULL;
    vectorcallfunc call = NULL;
    for (size_t i = 0; i < Py_ARRAY_LENGTH(KINDS); i++)
        if (strcmp(KINDS[i].name, kind) == 0) call = KINDS[i].call;
    if (call == NULL) return PyErr_Format(PyExc_ValueError, "there is no fast %s", kind);
    FastMethod *self = (FastMethod *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->vectorcall = call;
    self->function = Py_NewRef(function);
    self->again = Py_NewRef(again);
    self->call = then == Py_None ? NULL : Py_NewRef(then);
    self->sleeps = sleeps;
    return (PyObject *)self;
}

static int FastMethod_traverse(FastMethod *self, visitproc visit, void *arg) {
    Py_VISIT(self->function);
    Py_VISIT(self->again);
    Py_VISIT(self->call);
    Py_VISIT(self->dict);
    return 0;
}

static void FastMethod_dealloc(FastMethod *self) {
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL) PyObject_ClearWeakRefs((PyObject *)self);
    Py_XDECREF(self->function);
    Py_XDECREF(self->again);
    Py_XDECREF(self->call);
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

int set_up_methods(PyObject *module) {
    const char *const words[] = {"flags", "copy", "track"};
    for (int i = 0; i < 3; i++)
        if (names[i] == NULL && (names[i] = PyUnicode_InternFromString(words[i])) == NULL) return -1;
    if (defaults[0] == NULL && (defaults[0] = PyLong_FromLong(0)) == NULL) return -1;
    defaults[1] = Py_True;
    defaults[2] = Py_False;
    if (name_of_perform == NULL && (name_of_perform = PyUnicode_InternFromString("perform")) == NULL) return -1;
    if (usual == NULL && (usual = PyTuple_Pack(2, Py_True, Py_False)) == NULL) return -1;
    return PyModule_AddType(module, &FastMethod_Type);
}
