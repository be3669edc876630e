/* A stand-in for NVIDIA's management library whose watts a test sets, so that the true joules are known.
 *
 * For a process that only finds it on its library path, variables say what there is:
 * FAKE_NVML_WATTS="500,300"  two boards; unset or empty, the driver is "not loaded";
 * FAKE_NVML_NAME             the name of all boards;
 * FAKE_NVML_PERIOD_MS        how often the visible counter is brought up to date (100);
 * FAKE_NVML_SAMPLE_MS        how often power is sampled (20), FAKE_NVML_SAMPLES how many are kept (120);
 * FAKE_NVML_LATENCY_MS       how long each question to a board takes (0);
 * FAKE_NVML_INIT             the code that nvmlInit answers, for example 18;
 * and in lists of boards such as "0,2" what they cannot do:
 * FAKE_NVML_UNSUPPORTED      tell their energy, by function or field, but for the fields in FAKE_NVML_FIELDS="83,191",
 * FAKE_NVML_NO_SAMPLES       tell their samples of power, FAKE_NVML_NO_POWER those and their power,
 * FAKE_NVML_DENIED           be opened.
 * The functions fake_nvml_*() change boards while they run; fake_nvml_true_mj() is the exact energy now.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX = 16, CHANGES = 1024, PROCESSES = 32, SLICES = 7 };
enum { SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, TOO_SMALL = 7, NOT_LOADED = 9, LOST = 15, MISMATCH = 18 };
enum { UNSIGNED_INT = 1, UNSIGNED_LONG_LONG = 3, ENERGY_FIELD = 191 };

typedef struct { double since, watts; } Change;
typedef struct { unsigned pid; int percent; } Process;
typedef struct {
    double watts, mj, since; /* energy in millijoules at a moment, and the power since then */
    double zero, frozen;     /* what the visible counter began at, and what it stands still at (if >= 0) */
    int lost;
    Change changes[CHANGES]; /* the newest ones, for samples of the past */
    unsigned changed, busy;
    Process processes[PROCESSES];
} Board;
typedef struct { unsigned board, slices; } Part;

static Board boards[MAX];
static Part parts[MAX];
static unsigned count, part_count;
static double wall_ahead; /* of the wall clock, over the monotonic one */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int ready;

static double read_clock(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}
static double now(void) { return read_clock(CLOCK_MONOTONIC); }

static double number(const char *variable, double otherwise) {
    const char *text = getenv(variable);
    return text && *text ? atof(text) : otherwise;
}
static int named_in(const char *variable, unsigned i) {
    const char *text = getenv(variable);
    for (; text && *text; text = strchr(text, ',') ? strchr(text, ',') + 1 : "")
        if ((unsigned)atoi(text) == i) return 1;
    return 0;
}

static void put_in(unsigned i, double watts, double t) {
    memset(&boards[i], 0, sizeof boards[i]);
    boards[i] = (Board){.watts = watts, .mj = 1e6 * (i + 1), .since = t, .frozen = -1, .changed = 1, .changes = {{t, watts}}};
}
static void prepare(void) {
    if (ready) return;
    ready = 1;
    wall_ahead = read_clock(CLOCK_REALTIME) - now();
    char copy[256] = "";
    if (getenv("FAKE_NVML_WATTS")) strncpy(copy, getenv("FAKE_NVML_WATTS"), sizeof copy - 1);
    char *rest = copy;
    for (char *item; count < MAX && (item = strtok_r(rest, ",", &rest)); count++) put_in(count, atof(item), now());
}

static double energy_at(const Board *b, double t) { return b->mj + b->watts * (t - b->since) * 1000.0; }
static double watts_at(const Board *b, double t) {
    unsigned oldest = b->changed > CHANGES ? b->changed - CHANGES : 0;
    for (unsigned k = b->changed; k-- > oldest;)
        if (b->changes[k % CHANGES].since <= t) return b->changes[k % CHANGES].watts;
    return b->changes[oldest % CHANGES].watts;
}
static double visible_mj(const Board *b) {
    if (b->frozen >= 0) return b->frozen;
    double p = number("FAKE_NVML_PERIOD_MS", 100) / 1000.0, t = now();
    double edge = p > 0 ? (double)(long long)(t / p) * p : t;
    return energy_at(b, edge < b->since ? b->since : edge) - b->zero;
}

/* ---- what tests call ---- */
#define LOCKED(statement) do { pthread_mutex_lock(&lock); statement; pthread_mutex_unlock(&lock); } while (0)

static void set_boards(unsigned n, double watts) {
    prepare();
    count = n < MAX ? n : MAX;
    part_count = 0;
    for (unsigned i = 0; i < count; i++) put_in(i, watts, now());
}
static void set_watts(Board *b, double watts) {
    double t = now();
    b->mj = energy_at(b, t);
    b->since = t;
    b->watts = watts;
    b->changes[b->changed++ % CHANGES] = (Change){t, watts};
}
void fake_nvml_set_boards(unsigned n, double watts) { LOCKED(set_boards(n, watts)); }
void fake_nvml_set_watts(unsigned i, double watts) { LOCKED(set_watts(&boards[i], watts)); }
void fake_nvml_lose(unsigned i, int lost) { boards[i].lost = lost; }
void fake_nvml_reset(unsigned i) { LOCKED(boards[i].zero = energy_at(&boards[i], now())); }
void fake_nvml_freeze(unsigned i, int frozen) { LOCKED(boards[i].frozen = frozen ? visible_mj(&boards[i]) : -1); }
void fake_nvml_clear_processes(unsigned i) { LOCKED(boards[i].busy = 0); }
void fake_nvml_add_process(unsigned i, unsigned pid, int percent) {
    LOCKED(if (boards[i].busy < PROCESSES) boards[i].processes[boards[i].busy++] = ((Process){pid, percent}));
}
int fake_nvml_add_part(unsigned i, unsigned slices) {
    int index;
    LOCKED(index = part_count < MAX ? (int)part_count++ : -1; if (index >= 0) parts[index] = ((Part){i, slices}));
    return index;
}
double fake_nvml_true_mj(unsigned i) {
    double mj;
    LOCKED(mj = energy_at(&boards[i], now()));
    return mj;
}

/* ---- what nvidia-ml-py calls ---- */
typedef union { double d; unsigned ui; unsigned long long ull; } Value;
typedef struct { unsigned long long us; Value value; } Sample;
typedef struct { unsigned field, scope; int64_t us, latency_us; unsigned type; int code; Value value; } Field;
typedef struct { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; } Running;
typedef struct { unsigned pid; unsigned long long us; unsigned sm, memory, encoder, decoder; } Utilization;
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } Pci;
typedef struct { unsigned sm, copy, decoder, encoder, jpeg, ofa, gpu_slices, compute_slices; unsigned long long memory_mb; } Attributes;

static int is_part(const void *handle) { return (const Part *)handle >= parts && (const Part *)handle < parts + MAX; }
static unsigned index_of(const void *board) { return (unsigned)((const Board *)board - boards); }
static int has_parts(unsigned board) {
    for (unsigned k = 0; k < part_count; k++)
        if (parts[k].board == board) return 1;
    return 0;
}
static int enter(const void *handle) {
    double ms = number("FAKE_NVML_LATENCY_MS", 0);
    struct timespec pause = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)((ms - 1000 * (long)(ms / 1000)) * 1e6)};
    if (ms > 0) nanosleep(&pause, NULL);
    return is_part(handle) ? SUCCESS : ((const Board *)handle)->lost ? LOST : SUCCESS;
}
#define ENTER(handle) do { int code = enter(handle); if (code) return code; } while (0)

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    prepare();
    int code = (int)number("FAKE_NVML_INIT", SUCCESS);
    return code ? code : count ? SUCCESS : NOT_LOADED;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) {
    switch (code) {
        case SUCCESS: return "Success";
        case NOT_SUPPORTED: return "Not Supported";
        case NO_PERMISSION: return "Insufficient Permissions";
        case NOT_FOUND: return "Not Found";
        case NOT_LOADED: return "Driver Not Loaded";
        case 12: return "NVML Shared Library Not Found";
        case LOST: return "GPU is lost";
        case MISMATCH: return "Driver/library version mismatch";
        default: return "Invalid Argument";
    }
}
int nvmlDeviceGetCount_v2(unsigned *n) { *n = count; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **handle) {
    if (i >= count) return INVALID;
    if (named_in("FAKE_NVML_DENIED", i)) return NO_PERMISSION;
    *handle = &boards[i];
    return boards[i].lost ? LOST : SUCCESS;
}
int nvmlDeviceGetName(void *handle, char *name, unsigned length) {
    const char *given = getenv("FAKE_NVML_NAME");
    if (given && *given) snprintf(name, length, "%s", given);
    else snprintf(name, length, "Fake GPU %u", index_of(handle));
    return SUCCESS;
}
int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned length) {
    if (is_part(handle)) snprintf(uuid, length, "MIG-%08x-0000-0000-0000-000000000000", (unsigned)((Part *)handle - parts) + 0xb0);
    else snprintf(uuid, length, "GPU-%08x-0000-0000-0000-000000000000", index_of(handle) + 0xa0);
    return SUCCESS;
}
int nvmlDeviceGetPciInfo_v3(void *handle, Pci *pci) {
    *pci = (Pci){.bus = 0x65 + index_of(handle)};
    snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02X:00.0", pci->bus);
    return SUCCESS;
}
int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *energy) {
    ENTER(handle);
    if (named_in("FAKE_NVML_UNSUPPORTED", index_of(handle))) return NOT_SUPPORTED;
    LOCKED(*energy = (unsigned long long)visible_mj(handle));
    return SUCCESS;
}
int nvmlDeviceGetFieldValues(void *handle, int n, Field *fields) {
    ENTER(handle);
    for (Field *f = fields; f < fields + n; f++) {
        int by_field = getenv("FAKE_NVML_FIELDS") ? named_in("FAKE_NVML_FIELDS", f->field) : !named_in("FAKE_NVML_UNSUPPORTED", index_of(handle));
        int known = (f->field == 83 || f->field == ENERGY_FIELD) && f->scope == 0;
        f->code = known && by_field ? SUCCESS : NOT_SUPPORTED;
        f->type = UNSIGNED_LONG_LONG;
        LOCKED(f->value.ull = f->code ? 0 : (unsigned long long)visible_mj(handle));
    }
    return SUCCESS;
}
int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) {
    ENTER(handle);
    if (named_in("FAKE_NVML_NO_POWER", index_of(handle))) return NOT_SUPPORTED;
    *milliwatts = (unsigned)(((Board *)handle)->watts * 1000.0);
    return SUCCESS;
}
/* Samples were taken at the multiples of the period since the board was put in, on the wall clock of the first call. */
int nvmlDeviceGetSamples(void *handle, int kind, unsigned long long last_us, unsigned *type, unsigned *n, Sample *samples) {
    ENTER(handle);
    const Board *b = handle;
    if (kind || named_in("FAKE_NVML_NO_POWER", index_of(b)) || named_in("FAKE_NVML_NO_SAMPLES", index_of(b))) return NOT_SUPPORTED;
    double period = number("FAKE_NVML_SAMPLE_MS", 20) / 1000.0;
    long long newest = (long long)(now() / period), oldest = newest - (long long)number("FAKE_NVML_SAMPLES", 120) + 1;
    unsigned found = 0;
    *type = UNSIGNED_INT;
    pthread_mutex_lock(&lock);
    for (long long k = oldest; k <= newest; k++) {
        unsigned long long us = (unsigned long long)((k * period + wall_ahead) * 1e6);
        if (k * period < b->changes[0].since && b->changed <= CHANGES) continue;
        if (us <= last_us || (samples && found >= *n)) continue;
        if (samples) samples[found] = (Sample){us, {.ui = (unsigned)(watts_at(b, k * period) * 1000.0)}};
        found++;
    }
    pthread_mutex_unlock(&lock);
    *n = found;
    return found ? SUCCESS : NOT_FOUND;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *n, Running *running) {
    ENTER(handle);
    const Board *b = handle;
    unsigned room = *n;
    *n = b->busy;
    if (b->busy > room) return TOO_SMALL;
    for (unsigned k = 0; k < b->busy; k++) running[k] = (Running){b->processes[k].pid, 1 << 20, -1U, -1U};
    return SUCCESS;
}
int nvmlDeviceGetProcessUtilization(void *handle, Utilization *used, unsigned *n, unsigned long long last_us) {
    ENTER(handle);
    const Board *b = handle;
    if (has_parts(index_of(b))) return NOT_SUPPORTED;
    unsigned found = 0;
    unsigned long long us = (unsigned long long)((now() + wall_ahead) * 1e6);
    for (unsigned k = 0; k < b->busy; k++) {
        if (b->processes[k].percent < 0 || us <= last_us) continue;
        if (used && found < *n) used[found] = (Utilization){.pid = b->processes[k].pid, .us = us, .sm = (unsigned)b->processes[k].percent};
        found++;
    }
    *n = found;
    return !found ? NOT_FOUND : used ? SUCCESS : TOO_SMALL;
}
int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending) {
    *current = *pending = (unsigned)has_parts(index_of(handle));
    return SUCCESS;
}
int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *most) {
    *most = has_parts(index_of(handle)) ? SLICES : 0;
    return SUCCESS;
}
int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned i, void **part) {
    for (unsigned k = 0; k < part_count; k++)
        if (parts[k].board == index_of(handle) && i-- == 0) {
            *part = &parts[k];
            return SUCCESS;
        }
    return NOT_FOUND;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    char own[96];
    for (unsigned k = 0; k < part_count; k++) {
        nvmlDeviceGetUUID(&parts[k], own, sizeof own);
        if (!strcmp(own, uuid)) {
            *handle = &parts[k];
            return SUCCESS;
        }
    }
    return NOT_FOUND;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *part, void **handle) {
    if (!is_part(part)) return INVALID;
    *handle = &boards[((Part *)part)->board];
    return SUCCESS;
}
int nvmlDeviceGetAttributes_v2(void *part, Attributes *attributes) {
    if (!is_part(part)) return NOT_SUPPORTED;
    *attributes = (Attributes){.gpu_slices = ((Part *)part)->slices, .compute_slices = ((Part *)part)->slices};
    return SUCCESS;
}
/* The k-th MIG device is the only compute instance (0) of GPU instance k + 1. */
int nvmlDeviceGetGpuInstanceId(void *part, unsigned *id) { *id = (unsigned)((Part *)part - parts) + 1; return SUCCESS; }
int nvmlDeviceGetComputeInstanceId(void *part, unsigned *id) { (void)part; *id = 0; return SUCCESS; }
