/* Plain frames (RFC 6455 §5.2) in C: the twin of `frames_py`, which says what each function does.
 *
 * Theory of operation
 * -------------------
 *
 * Both are run by the same tests, and have to give the same result for the same arguments. Where
 * they may differ is in arguments that this package never passes: here each is checked, as no Python
 * code, whatever it does, may make this file read or write outside of what it was given.
 *
 * - Input is read through the buffer protocol, and the buffer is held until the call ends: so it
 *   stays where it is, though `make_text` and `inflate` run any code.
 * - A position is compared by what is left (`end - start`), never by a sum, which could overflow.
 * - Nothing is kept between two calls: there is no state, and no constant that would need a lock.
 * - Only the limited API of CPython 3.11 is used: one build serves that version and all later ones.
 */

#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <stdint.h>
#include <string.h>

/* First bytes of a frame: FIN and the opcode. */
#define TEXT 0x81
#define BINARY 0x82
#define COMPRESSED 0x40 /* in it: RSV1 (RFC 7692 §6) */
#define MASKED 0x80 /* in the second byte */

#define KEY_SIZE 4
#define MAX_HEADER_SIZE 10 /* without the key */
#define MAX_MESSAGES 512   /* that one call decodes, as in `frames_py` */
#define INTERFACE 3        /* of the functions, as in `frames_py` */

static int
check_count(const char *name, Py_ssize_t count, Py_ssize_t expected)
{
    if (count == expected) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, not %zd", name, expected, count);
    return -1;
}

/* Decoding */

/* Read a header. Returns its size in bytes, or 0 if the frame is not plain or has not come. */
static Py_ssize_t
read_header(const unsigned char *data, Py_ssize_t available, uint64_t *size)
{
    if (available < 2) {
        return 0;
    }
    unsigned char length = data[1];
    if (length <= 125) {
        *size = length;
        return 2;
    }
    if (length >= MASKED) {
        return 0;
    }
    Py_ssize_t header_size = length == 126 ? 4 : 10;
    if (available < header_size) {
        return 0;
    }
    *size = 0;
    for (Py_ssize_t i = 2; i < header_size; i++) {
        *size = *size << 8 | data[i];
    }
    return *size < (length == 126 ? 126 : 65536) ? 0 : header_size;
}

/* What `decode` was asked for, and what it has found out so far. */
struct decoding {
    uint64_t max_size;
    PyObject *make_text;
    PyObject *inflate;
    uint64_t taken;
};

/* Each function here returns NULL without an exception set where decoding has to stop. */

static PyObject *
decode_utf8(const char *data, Py_ssize_t size)
{
    PyObject *text = PyUnicode_DecodeUTF8(data, size, NULL);
    if (text == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
    }
    return text;
}

static PyObject *
make_str(struct decoding *task, const char *data, Py_ssize_t size)
{
    PyObject *text = decode_utf8(data, size);
    if (text == NULL) {
        return NULL;
    }
    Py_ssize_t length = PyUnicode_GetLength(text);
    task->taken += length == size ? (uint64_t)size : 4 * (uint64_t)length;
    return text;
}

/* (Without the formats that have a `#`: what they want of `PY_SSIZE_T_CLEAN` depends on the version
 * whose headers are used, though the limited API is one.) */
static PyObject *
make_inflated(struct decoding *task, unsigned char first_byte, PyObject *payload)
{
    PyObject *number = PyLong_FromLong(first_byte);
    if (number == NULL) {
        return NULL;
    }
    PyObject *message = PyObject_CallFunctionObjArgs(task->inflate, number, payload, NULL);
    Py_DECREF(number);
    if (message == Py_None) {
        Py_DECREF(message);
        return NULL;
    }
    return message;
}

static PyObject *
make_message(struct decoding *task, unsigned char first_byte, const char *data, Py_ssize_t size)
{
    if (first_byte == TEXT && task->make_text == Py_None) {
        return make_str(task, data, size);
    }
    PyObject *payload = PyBytes_FromStringAndSize(data, size);
    if (payload == NULL || first_byte == BINARY) {
        task->taken += (uint64_t)size;
        return payload;
    }
    PyObject *message;
    if (first_byte == TEXT) {
        task->taken += (uint64_t)size;
        message = PyObject_CallFunctionObjArgs(task->make_text, payload, NULL);
    } else {
        message = make_inflated(task, first_byte ^ COMPRESSED, payload);
    }
    Py_DECREF(payload);
    return message;
}

static int
is_plain(const struct decoding *task, unsigned char first_byte)
{
    if (task->inflate != Py_None) {
        first_byte &= (unsigned char)~COMPRESSED;
    }
    return first_byte == TEXT || first_byte == BINARY;
}

/* Append the messages from `*start` on, and move it behind them. Returns -1 on an exception. */
static int
decode_messages(struct decoding *task, PyObject *messages, const char *data, Py_ssize_t end,
                Py_ssize_t *start)
{
    for (int count = 0; count < MAX_MESSAGES && *start < end; count++) {
        uint64_t size;
        const unsigned char *frame = (const unsigned char *)data + *start;
        Py_ssize_t header_size = read_header(frame, end - *start, &size);
        if (header_size == 0 || size > task->max_size || !is_plain(task, frame[0])) {
            return 0;
        }
        Py_ssize_t begin = *start + header_size;
        if (size > (uint64_t)(end - begin)) {
            return 0;
        }
        PyObject *message = make_message(task, frame[0], data + begin, (Py_ssize_t)size);
        if (message == NULL) {
            return PyErr_Occurred() == NULL ? 0 : -1;
        }
        int failed = PyList_Append(messages, message);
        Py_DECREF(message);
        if (failed) {
            return -1;
        }
        *start = begin + (Py_ssize_t)size;
    }
    return 0;
}

static PyObject *
decode(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (check_count("decode", count, 5)) {
        return NULL;
    }
    Py_ssize_t start = PyLong_AsSsize_t(args[1]);
    if (start == -1 && PyErr_Occurred()) {
        return NULL;
    }
    long long max_size = PyLong_AsLongLong(args[2]);
    if (max_size == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (start < 0 || max_size < 0) {
        PyErr_SetString(PyExc_ValueError, "start and max_size can't be negative");
        return NULL;
    }
    Py_buffer data;
    if (PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE)) {
        return NULL;
    }
    struct decoding task = {(uint64_t)max_size, args[3], args[4], 0};
    PyObject *messages = PyList_New(0);
    if (messages != NULL && decode_messages(&task, messages, data.buf, data.len, &start)) {
        Py_CLEAR(messages);
    }
    PyBuffer_Release(&data);
    if (messages == NULL) {
        return NULL;
    }
    return Py_BuildValue("(NnK)", messages, start, (unsigned long long)task.taken);
}

/* As `decode` does with a single plain frame, but without its list and its tuple. */
static PyObject *
decode_single(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (check_count("decode_single", count, 3)) {
        return NULL;
    }
    long long max_size = PyLong_AsLongLong(args[1]);
    if (max_size == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (max_size < 0) {
        PyErr_SetString(PyExc_ValueError, "max_size can't be negative");
        return NULL;
    }
    int decodes_text = PyObject_IsTrue(args[2]);
    if (decodes_text == -1) {
        return NULL;
    }
    Py_buffer data;
    if (PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE)) {
        return NULL;
    }
    const unsigned char *frame = data.buf;
    uint64_t size;
    PyObject *message = NULL;
    Py_ssize_t header_size = read_header(frame, data.len, &size);
    if (header_size != 0 && (frame[0] == TEXT || frame[0] == BINARY)
        && size == (uint64_t)(data.len - header_size) && size <= (uint64_t)max_size) {
        const char *payload = (const char *)frame + header_size;
        if (frame[0] == BINARY || !decodes_text) {
            message = PyBytes_FromStringAndSize(payload, (Py_ssize_t)size);
        } else {
            message = decode_utf8(payload, (Py_ssize_t)size);
        }
    }
    PyBuffer_Release(&data);
    if (message == NULL && PyErr_Occurred() == NULL) {
        Py_RETURN_NONE;
    }
    return message;
}

/* Building */

/* XOR with the key, over and over (RFC 6455 §5.3). */
static void
apply_mask(unsigned char *to, const unsigned char *from, Py_ssize_t size,
           const unsigned char *key)
{
    uint64_t keys, word;
    memcpy(&keys, key, KEY_SIZE);
    memcpy((char *)&keys + KEY_SIZE, key, KEY_SIZE);
    /* Compilers make vectors of this loop, twice as fast, only if its index can't overflow: CPython
       is often built with -fno-strict-overflow, and extensions with the same flags. So the words
       are counted, in an unsigned type. */
    size_t words = (size_t)size / 8;
    for (size_t i = 0; i < words; i++) {
        memcpy(&word, from + 8 * i, 8); /* It may lie anywhere: this becomes a plain load. */
        word ^= keys;
        memcpy(to + 8 * i, &word, 8);
    }
    for (size_t i = 8 * words; i < (size_t)size; i++) {
        to[i] = from[i] ^ key[i % KEY_SIZE];
    }
}

/* Take the arguments `payload` and `key`; both have to be released if this returns 0. */
static int
take_buffers(PyObject *const *args, Py_buffer *payload, Py_buffer *key)
{
    if (PyObject_GetBuffer(args[0], payload, PyBUF_SIMPLE)) {
        return -1;
    }
    if (PyObject_GetBuffer(args[1], key, PyBUF_SIMPLE)) {
        PyBuffer_Release(payload);
        return -1;
    }
    if (key->len != KEY_SIZE) {
        PyErr_SetString(PyExc_ValueError, "a key has 4 bytes");
        PyBuffer_Release(key);
        PyBuffer_Release(payload);
        return -1;
    }
    return 0;
}

/* Write a header without the key. Returns its size in bytes. */
static Py_ssize_t
write_header(unsigned char *header, unsigned char first_byte, Py_ssize_t size)
{
    header[0] = first_byte;
    if (size <= 125) {
        header[1] = (unsigned char)(MASKED | size);
        return 2;
    }
    Py_ssize_t header_size = size < 65536 ? 4 : 10;
    header[1] = MASKED | (header_size == 4 ? 126 : 127);
    uint64_t rest = (uint64_t)size;
    for (Py_ssize_t i = header_size - 1; i >= 2; i--) {
        header[i] = (unsigned char)(rest & 0xff);
        rest >>= 8;
    }
    return header_size;
}

static PyObject *
build(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (check_count("build", count, 3)) {
        return NULL;
    }
    long first_byte = PyLong_AsLong(args[0]);
    if (first_byte == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (first_byte < 0 || first_byte > 255) {
        PyErr_SetString(PyExc_ValueError, "a first byte is one byte");
        return NULL;
    }
    Py_buffer payload, key;
    if (take_buffers(args + 1, &payload, &key)) {
        return NULL;
    }
    unsigned char header[MAX_HEADER_SIZE];
    Py_ssize_t header_size = write_header(header, (unsigned char)first_byte, payload.len);
    Py_ssize_t begin = header_size + KEY_SIZE;
    PyObject *frame = NULL;
    if (payload.len > PY_SSIZE_T_MAX - begin) {
        PyErr_NoMemory();
    } else {
        frame = PyBytes_FromStringAndSize(NULL, begin + payload.len);
    }
    if (frame != NULL) {
        unsigned char *to = (unsigned char *)PyBytes_AsString(frame);
        memcpy(to, header, (size_t)header_size);
        memcpy(to + header_size, key.buf, KEY_SIZE);
        apply_mask(to + begin, payload.buf, payload.len, key.buf);
    }
    PyBuffer_Release(&key);
    PyBuffer_Release(&payload);
    return frame;
}

static PyObject *
mask(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (check_count("mask", count, 4)) {
        return NULL;
    }
    Py_ssize_t start = PyLong_AsSsize_t(args[2]);
    if (start == -1 && PyErr_Occurred()) {
        return NULL;
    }
    Py_ssize_t stop = PyLong_AsSsize_t(args[3]);
    if (stop == -1 && PyErr_Occurred()) {
        return NULL;
    }
    Py_buffer payload, key;
    if (take_buffers(args, &payload, &key)) {
        return NULL;
    }
    PyObject *masked = NULL;
    if (stop > payload.len) {
        stop = payload.len;
    }
    if (start < 0 || start > stop) {
        PyErr_SetString(PyExc_ValueError, "this is not a piece of the payload");
    } else {
        masked = PyBytes_FromStringAndSize(NULL, stop - start);
    }
    if (masked != NULL) {
        unsigned char *to = (unsigned char *)PyBytes_AsString(masked);
        apply_mask(to, (const unsigned char *)payload.buf + start, stop - start, key.buf);
    }
    PyBuffer_Release(&key);
    PyBuffer_Release(&payload);
    return masked;
}

/* The module */

static PyMethodDef methods[] = {
    {"decode", (PyCFunction)(void (*)(void))decode, METH_FASTCALL,
     PyDoc_STR("Do as `frames_py.decode`.")},
    {"decode_single", (PyCFunction)(void (*)(void))decode_single, METH_FASTCALL,
     PyDoc_STR("Do as `frames_py.decode_single`.")},
    {"build", (PyCFunction)(void (*)(void))build, METH_FASTCALL,
     PyDoc_STR("Do as `frames_py.build`.")},
    {"mask", (PyCFunction)(void (*)(void))mask, METH_FASTCALL,
     PyDoc_STR("Do as `frames_py.mask`.")},
    {NULL, NULL, 0, NULL},
};

static int
add_constants(PyObject *module)
{
    return PyModule_AddIntConstant(module, "INTERFACE", INTERFACE);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, add_constants},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "trio_wsclient._protocol.frames_c",
    .m_doc = PyDoc_STR("Plain frames in C: see `frames_py`."),
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit_frames_c(void)
{
    return PyModuleDef_Init(&definition);
}
