/* A PKCS #11 module that forwards to another one and fails as it is told; for tests only.
 *
 * Built with -DREAL_MODULE="\"…\"" and -DCONTROL="\"…\"". The file CONTROL says what goes wrong, in one line
 * `FAULT [ARGUMENT] [once]`; without the file nothing does, and with `once` it is removed when the fault strikes:
 *
 *   latency 5000        each C_Sign takes so many microseconds, and no time of this processor where the data are
 *                       those of the last one: as an HSM, which works elsewhere
 *   sign_error 48       C_Sign returns this CK_RV and signs nothing
 *   other_key           C_Sign signs with another private key of the token
 *   hang                C_Sign never returns
 *   session_closed      C_Sign closes the session and says that its handle is invalid
 *   removed             there is no token, and what is done with it fails
 *   crash               C_Sign ends the process by SIGSEGV
 *   wrong_pin           C_Login refuses the PIN
 *
 * With -DLATENCY="\"5000\"" it is always that slow and reads no file, which would be counted as the worker's work.
 * CONTROL.logins grows by an octet with each C_Login, so that tries of the PIN can be counted.
 * Only the types that are needed stand here: PKCS #11 v2.40, §3 and §5, natural alignment.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long ulong_t;
typedef ulong_t (*function_t)();
typedef struct { ulong_t type; void *value; ulong_t length; } attribute_t;
typedef struct { unsigned char version[2]; function_t functions[68]; } function_list_t;

enum { GET_FUNCTION_LIST = 3, GET_SLOT_LIST = 4, GET_TOKEN_INFO = 6, OPEN_SESSION = 12, CLOSE_SESSION = 13,
       LOGIN = 18, GET_ATTRIBUTE = 24, FIND_INIT = 26, FIND = 27, FIND_FINAL = 28, SIGN_INIT = 42, SIGN = 43 };
enum { OK = 0, DEVICE_REMOVED = 0x32, PIN_INCORRECT = 0xA0, SESSION_HANDLE_INVALID = 0xB3, TOKEN_NOT_PRESENT = 0xE0 };
enum { CLASS = 0, KEY_TYPE = 0x100, PRIVATE_KEY = 3 };

static function_list_t real, faulty;

typedef struct { char name[32], second[32], third[32]; } fault_t;

/* What the control file says now; without the file the name is empty. */
static fault_t told(void)
{
#ifdef LATENCY
    return (fault_t){"latency", LATENCY, ""};
#endif
    char line[128] = "";
    fault_t fault = {"", "", ""};
    int file = open(CONTROL, O_RDONLY);
    if (file >= 0) {
        if (read(file, line, sizeof line - 1) > 0)
            (void)!sscanf(line, "%31s %31s %31s", fault.name, fault.second, fault.third);
        close(file);
    }
    return fault;
}

/* Whether it is this fault that strikes now; the file is removed where it says `once`. */
static int strikes(const fault_t *fault, const char *name)
{
    if (strcmp(fault->name, name))
        return 0;
    if (!strcmp(fault->second, "once") || !strcmp(fault->third, "once"))
        unlink(CONTROL);
    return 1;
}

static int struck_by(const char *name)
{
    fault_t fault = told();
    return strikes(&fault, name);
}

static ulong_t get_slot_list(unsigned char present, ulong_t *slots, ulong_t *count)
{
    if (struck_by("removed")) {
        *count = 0;
        return OK;
    }
    return real.functions[GET_SLOT_LIST](present, slots, count);
}

static ulong_t get_token_info(ulong_t slot, void *info)
{
    return struck_by("removed") ? TOKEN_NOT_PRESENT : real.functions[GET_TOKEN_INFO](slot, info);
}

static ulong_t open_session(ulong_t slot, ulong_t flags, void *application, void *notify, ulong_t *session)
{
    if (struck_by("removed"))
        return TOKEN_NOT_PRESENT;
    return real.functions[OPEN_SESSION](slot, flags, application, notify, session);
}

static ulong_t login(ulong_t session, ulong_t user, unsigned char *pin, ulong_t length)
{
    int file = open(CONTROL ".logins", O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file >= 0) {
        if (write(file, "y", 1) != 1)
            abort();
        close(file);
    }
    return struck_by("wrong_pin") ? PIN_INCORRECT : real.functions[LOGIN](session, user, pin, length);
}

/* Another private key of the same type as this one, or the same where there is no other. */
static ulong_t other_key(ulong_t session, ulong_t key)
{
    ulong_t class = PRIVATE_KEY, type = 0, found[16], count = 0, other = key;
    attribute_t wanted[2] = {{KEY_TYPE, &type, sizeof type}, {CLASS, &class, sizeof class}};
    if (real.functions[GET_ATTRIBUTE](session, key, wanted, 1UL) != OK)
        return key;
    if (real.functions[FIND_INIT](session, wanted, 2UL) != OK)
        return key;
    if (real.functions[FIND](session, found, 16UL, &count) == OK)
        for (ulong_t i = 0; i < count; i++)
            if (found[i] != key)
                other = found[i];
    real.functions[FIND_FINAL](session);
    return other;
}

/* The last signature of a slow token; `active`: it stands for the operation that C_SignInit began. */
static struct {
    int known, active;
    ulong_t key, data_length, length, mechanism[3];
    unsigned char data[512], signature[512];
} last;

static ulong_t slow_sign(ulong_t session, unsigned char *data, ulong_t length, unsigned char *signature, ulong_t *size)
{
    ulong_t result;
    if (last.active) {
        last.active = 0;
        if (length == last.data_length && *size >= last.length && !memcmp(data, last.data, length)) {
            memcpy(signature, last.signature, last.length);
            *size = last.length;
            return OK;
        }
        if ((result = real.functions[SIGN_INIT](session, last.mechanism, last.key)) != OK)
            return result;
    }
    result = real.functions[SIGN](session, data, length, signature, size);
    last.known = result == OK && length <= sizeof last.data && *size <= sizeof last.signature;
    if (last.known) {
        memcpy(last.data, data, last.data_length = length);
        memcpy(last.signature, signature, last.length = *size);
    }
    return result;
}

static ulong_t sign_init(ulong_t session, void *mechanism, ulong_t key)
{
    fault_t fault = told();
    if (strikes(&fault, "latency")) {
        int same = last.known && key == last.key && *(ulong_t *)mechanism == last.mechanism[0];
        last.key = key;
        last.known = same;
        memcpy(last.mechanism, mechanism, sizeof last.mechanism); /* CK_MECHANISM: type, parameter, length */
        if ((last.active = same))
            return OK;
    }
    if (strikes(&fault, "other_key"))
        key = other_key(session, key);
    return real.functions[SIGN_INIT](session, mechanism, key);
}

static ulong_t sign(ulong_t session, unsigned char *data, ulong_t length, unsigned char *signature, ulong_t *size)
{
    if (signature == NULL && last.active) {
        *size = last.length;
        return OK;
    }
    if (signature == NULL) /* only asks for the length */
        return real.functions[SIGN](session, data, length, signature, size);
    fault_t fault = told();
    ulong_t argument = strtoul(fault.second, NULL, 0);
    if (strikes(&fault, "latency") || last.active) {
        usleep((useconds_t)argument);
        return slow_sign(session, data, length, signature, size);
    }
    if (strikes(&fault, "sign_error"))
        return argument;
    if (strikes(&fault, "removed"))
        return DEVICE_REMOVED;
    if (strikes(&fault, "crash"))
        raise(SIGSEGV);
    if (strikes(&fault, "hang"))
        for (;;)
            pause();
    if (strikes(&fault, "session_closed")) {
        real.functions[CLOSE_SESSION](session);
        return SESSION_HANDLE_INVALID;
    }
    return real.functions[SIGN](session, data, length, signature, size);
}

ulong_t C_GetFunctionList(function_list_t **list)
{
    function_list_t *found = NULL;
    void *library = dlopen(REAL_MODULE, RTLD_NOW | RTLD_LOCAL);
    function_t get = library ? (function_t)dlsym(library, "C_GetFunctionList") : NULL;
    if (get == NULL || get(&found) != OK)
        return 5; /* CKR_GENERAL_ERROR */
    real = faulty = *found;
    faulty.functions[GET_FUNCTION_LIST] = (function_t)C_GetFunctionList;
    faulty.functions[GET_SLOT_LIST] = (function_t)get_slot_list;
    faulty.functions[GET_TOKEN_INFO] = (function_t)get_token_info;
    faulty.functions[OPEN_SESSION] = (function_t)open_session;
    faulty.functions[LOGIN] = (function_t)login;
    faulty.functions[SIGN_INIT] = (function_t)sign_init;
    faulty.functions[SIGN] = (function_t)sign;
    *list = &faulty;
    return OK;
}
