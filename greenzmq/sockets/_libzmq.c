/* libzmq's functions, in what pyzmq has loaded. */

#include "_fastpath.h"

#include <dlfcn.h>
#include <string.h>

#define SYMBOL(name, result, arguments) {"zmq_" #name, &zmq.name##_},
struct Zmq zmq;
static const struct {
    const char *name;
    void *place;
} SYMBOLS[] = {FUNCTIONS(SYMBOL)};

/* load(path): find the functions in the shared library at `path`, which is loaded already, and in those that it needs.
   A static libzmq keeps its names to itself: then there is nothing to find. */
PyObject *load_libzmq(PyObject *Py_UNUSED(module), PyObject *path) {
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
