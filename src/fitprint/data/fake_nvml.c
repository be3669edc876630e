/* A stand-in for NVIDIA's management library whose watts a test sets, so that the true joules are known.
 *
 * FAKE_NVML_WATTS="500,300" gives two boards; unset or empty, the driver is "not loaded".
 * FAKE_NVML_PERIOD_MS (default 100) is how often the visible counter is brought up to date.
 * FAKE_NVML_UNSUPPORTED="1" makes the energy counter of board 1 answer NOT_SUPPORTED,
 * FAKE_NVML_NO_POWER="1" its power; FAKE_NVML_NAME gives all boards a name.
 * fake_nvml_set_watts() changes a board's power; fake_nvml_true_mj() is the exact energy now.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX = 16, SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, NOT_LOADED = 9, LOST = 15 };

typedef struct { double watts; double mj; double since; int lost; } Board;

static Board boards[MAX];
static unsigned count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int ready;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void prepare(void) {
    if (ready) return;
    ready = 1;
    const char *text = getenv("FAKE_NVML_WATTS");
    char copy[256] = "";
    if (text) strncpy(copy, text, sizeof copy - 1);
    char *rest = copy;
    for (char *item; count < MAX && (item = strtok_r(rest, ",", &rest)); count++)
        boards[count] = (Board){.watts = atof(item), .mj = 1e6 * (count + 1), .since = now()};
}

static double energy_at(const Board *b, double t) { return b->mj + b->watts * (t - b->since) * 1000.0; }

static double period(void) {
    const char *text = getenv("FAKE_NVML_PERIOD_MS");
    double ms = text ? atof(text) : 100.0;
    return ms > 0 ? ms / 1000.0 : 1e-9;
}

static int named_in(const char *variable, unsigned i) {
    const char *text = getenv(variable);
    return text && *text && (unsigned)atoi(text) == i;
}

/* ---- what tests call ---- */
void fake_nvml_set_boards(unsigned n, double watts) {
    pthread_mutex_lock(&lock);
    ready = 1;
    count = n < MAX ? n : MAX;
    for (unsigned i = 0; i < count; i++) boards[i] = (Board){.watts = watts, .mj = 1e6 * (i + 1), .since = now()};
    pthread_mutex_unlock(&lock);
}

void fake_nvml_set_watts(unsigned i, double watts) {
    pthread_mutex_lock(&lock);
    double t = now();
    boards[i].mj = energy_at(&boards[i], t);
    boards[i].since = t;
    boards[i].watts = watts;
    pthread_mutex_unlock(&lock);
}

void fake_nvml_lose(unsigned i, int lost) { boards[i].lost = lost; }

double fake_nvml_true_mj(unsigned i) {
    pthread_mutex_lock(&lock);
    double mj = energy_at(&boards[i], now());
    pthread_mutex_unlock(&lock);
    return mj;
}

/* ---- what nvidia-ml-py calls ---- */
int nvmlInitWithFlags(unsigned flags) { (void)flags; prepare(); return count ? SUCCESS : NOT_LOADED; }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) {
    switch (code) {
        case SUCCESS: return "Success";
        case NOT_SUPPORTED: return "Not Supported";
        case NOT_FOUND: return "Not Found";
        case NOT_LOADED: return "Driver Not Loaded";
        case LOST: return "GPU is lost";
        default: return "Invalid Argument";
    }
}
int nvmlDeviceGetCount_v2(unsigned *n) { *n = count; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **handle) {
    if (i >= count) return INVALID;
    *handle = &boards[i];
    return SUCCESS;
}
int nvmlDeviceGetName(void *handle, char *name, unsigned length) {
    const char *given = getenv("FAKE_NVML_NAME");
    if (given && *given) snprintf(name, length, "%s", given);
    else snprintf(name, length, "Fake GPU %d", (int)((Board *)handle - boards));
    return SUCCESS;
}
int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned length) {
    snprintf(uuid, length, "GPU-%08x-0000-0000-0000-000000000000", (unsigned)((Board *)handle - boards) + 0xa0);
    return SUCCESS;
}
int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *energy) {
    Board *b = handle;
    unsigned i = (unsigned)(b - boards);
    if (named_in("FAKE_NVML_UNSUPPORTED", i)) return NOT_SUPPORTED;
    if (b->lost) return LOST;
    pthread_mutex_lock(&lock);
    double t = now(), p = period();
    double edge = (double)(long long)(t / p) * p;
    if (edge < b->since) edge = b->since;
    *energy = (unsigned long long)energy_at(b, edge);
    pthread_mutex_unlock(&lock);
    return SUCCESS;
}
int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) {
    Board *b = handle;
    if (named_in("FAKE_NVML_NO_POWER", (unsigned)(b - boards))) return NOT_SUPPORTED;
    if (b->lost) return LOST;
    *milliwatts = (unsigned)(b->watts * 1000.0);
    return SUCCESS;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    /* "MIG-<n>" is a part of board n. */
    unsigned i = 0;
    if (sscanf(uuid, "MIG-%u", &i) != 1 || i >= count) return NOT_FOUND;
    *handle = &boards[i];
    return SUCCESS;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *mig, void **handle) { *handle = mig; return SUCCESS; }
