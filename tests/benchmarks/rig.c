/* The NVIDIA board that all tools are measured on: a square wave of power, known exactly at any instant.
 *
 * RIG_WATTS="650,200" high and low, RIG_PERIOD_S of the wave, RIG_DUTY the share of it that is high;
 * RIG_TICK_S is how often the visible counter is brought up to date; RIG_BOARDS how many such boards there are, RIG_MACHINE which
 * machine they are said to be in. The wave and the ticks are functions
 * of CLOCK_MONOTONIC alone, so that every process sees the same board. rig_joules() is the truth.
 *
 * It answers as an H100 would: power is the mean over the last second, brought up to date every 100 ms
 * (nvml.h: "1-sec average power draw" from Ampere on, GA100 excepted).
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, HOPPER = 9 };
enum { MOST = 16 };
static int boards[MOST];

static double setting(const char *name, double otherwise) {
    const char *text = getenv(name);
    return text && *text ? atof(text) : otherwise;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static double joules_at(double t) {
    double high = 500.0, low = 500.0, period = setting("RIG_PERIOD_S", 1.0);
    const char *watts = getenv("RIG_WATTS");
    if (watts) sscanf(watts, "%lf,%lf", &high, &low);
    double up = setting("RIG_DUTY", 1.0) * period, waves = floor(t / period), rest = t - waves * period;
    double extra = waves * up + (rest < up ? rest : up);
    return low * t + (high - low) * extra;
}

static double last_edge(double t, double step) { return floor(t / step) * step; }

double rig_joules(void) { return joules_at(now()); }

/* ---- what the tools call ---- */
int nvmlInitWithFlags(unsigned flags) { (void)flags; return SUCCESS; }
int nvmlInit_v2(void) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == NOT_SUPPORTED ? "Not Supported" : "Unknown Error"; }
static unsigned count_of_boards(void) { return (unsigned)setting("RIG_BOARDS", 1.0); }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = count_of_boards(); return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    if (index >= count_of_boards() || index >= MOST) return 2;
    *handle = &boards[index];
    return SUCCESS;
}
int nvmlDeviceGetName(void *handle, char *name, unsigned length) {
    (void)handle;
    snprintf(name, length, "NVIDIA H100 80GB HBM3");
    return SUCCESS;
}
int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned length) {
    snprintf(uuid, length, "GPU-00000000-0000-0000-%04d-%012d", (int)setting("RIG_MACHINE", 0.0), (int)((int *)handle - boards) + 1);
    return SUCCESS;
}
int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *mj) {
    (void)handle;
    *mj = (unsigned long long)(1000.0 * joules_at(last_edge(now(), setting("RIG_TICK_S", 0.1))));
    return SUCCESS;
}
int nvmlDeviceGetPowerUsage(void *handle, unsigned *mw) {
    (void)handle;
    double t = last_edge(now(), 0.1);
    *mw = (unsigned)(1000.0 * (joules_at(t) - joules_at(t - 1.0)));
    return SUCCESS;
}
int nvmlDeviceGetArchitecture(void *handle, unsigned *arch) { (void)handle; *arch = HOPPER; return SUCCESS; }
int nvmlDeviceGetC2cModeInfoV(void *handle, void *info) { (void)handle; (void)info; return NOT_SUPPORTED; }
int nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned *mw) { (void)handle; *mw = 700000; return SUCCESS; }
int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long *total_free_used) {
    (void)handle;
    total_free_used[0] = total_free_used[1] = 80ULL << 30;
    total_free_used[2] = 0;
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(void *handle, unsigned *gpu_memory) {
    (void)handle;
    gpu_memory[0] = 100;
    gpu_memory[1] = 50;
    return SUCCESS;
}
