/* A libnvidia-ml.so.1 without a card: serves what lies in the directory FAKE_NVML_DIR.
 *
 *   cards     one line a card: uuid name total_mb tenants_mb state   (state: ok | lost | sick | foreign)
 *   mode      ok | hang | error | unloaded        (missing: ok)
 *   memory    there while the memory of no card can be told
 *   return_s  how long the memory of a process that is gone is still taken
 *   claims/   one file a process, named by its pid: uuid mb
 *
 * Everything is read anew at every call, so a test changes it by replacing a file.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MB (1024ULL * 1024ULL)
#define CARDS 8
#define CLAIMS 256

enum { OK = 0, NOT_LOADED = 9, UNKNOWN = 999, IS_LOST = 15, NOT_FOUND = 6, TOO_SMALL = 7, UNSUPPORTED = 3, FORBIDDEN = 4 };

typedef struct { char uuid[64], name[64], state[16]; unsigned long long total, tenants; } Card;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int pid; unsigned long long used; unsigned int gi, ci; } Process;

static struct { int pid; double since; } gone[CLAIMS];
static int places[CARDS];  /* a handle points at its card's place */

static FILE *open_in(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("FAKE_NVML_DIR"), name);
    return fopen(path, "r");
}

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static int is_mode(const char *wanted)
{
    char word[32] = "ok";
    FILE *file = open_in("mode");
    if (file) {
        if (fscanf(file, "%31s", word) != 1) strcpy(word, "ok");
        fclose(file);
    }
    return strcmp(word, wanted) == 0;
}

static int trouble(void)
{
    while (is_mode("hang")) usleep(20000);
    if (is_mode("unloaded")) return NOT_LOADED;
    return is_mode("error") ? UNKNOWN : OK;
}

static int read_cards(Card *cards)
{
    int count = 0;
    FILE *file = open_in("cards");
    if (!file) return 0;
    while (count < CARDS && fscanf(file, "%63s %63s %llu %llu %15s", cards[count].uuid,
                                   cards[count].name, &cards[count].total,
                                   &cards[count].tenants, cards[count].state) == 5)
        count++;
    fclose(file);
    return count;
}

/* A process that is gone keeps its memory for a while, as with the real driver. */
static int holds(int pid)
{
    double return_s = 0;
    FILE *file = open_in("return_s");
    if (file) {
        if (fscanf(file, "%lf", &return_s) != 1) return_s = 0;
        fclose(file);
    }
    if (kill(pid, 0) == 0 || errno == EPERM) return 1;
    for (int n = 0; n < CLAIMS; n++) {
        if (gone[n].pid == pid) return now() - gone[n].since < return_s;
        if (gone[n].pid == 0) {
            gone[n].pid = pid;
            gone[n].since = now();
            return return_s > 0;
        }
    }
    return 0;
}

static int read_claims(const char *uuid, Process *found)
{
    char path[4096], its[64];
    int count = 0;
    unsigned long long mb;
    struct dirent *entry;
    DIR *folder;
    snprintf(path, sizeof path, "%s/claims", getenv("FAKE_NVML_DIR"));
    if (!(folder = opendir(path))) return 0;
    while ((entry = readdir(folder)) && count < CLAIMS) {
        char name[512];
        int pid = atoi(entry->d_name);
        FILE *file;
        if (pid <= 0) continue;
        snprintf(name, sizeof name, "claims/%s", entry->d_name);
        if (!(file = open_in(name))) continue;
        if (fscanf(file, "%63s %llu", its, &mb) == 2 && !strcmp(its, uuid) && holds(pid)) {
            found[count].pid = pid;
            found[count].used = mb * MB;
            found[count].gi = found[count].ci = 0xffffffffu;
            count++;
        }
        fclose(file);
    }
    closedir(folder);
    return count;
}

static int card_of(const int *handle, Card *card)
{
    Card cards[CARDS];
    int count = read_cards(cards), code = trouble();
    if (code) return code;
    if (*handle >= count) return IS_LOST;
    *card = cards[*handle];
    if (strcmp(card->state, "sick") == 0) return UNKNOWN;
    if (strcmp(card->state, "foreign") == 0) return FORBIDDEN;
    return strcmp(card->state, "lost") == 0 ? IS_LOST : OK;
}

int nvmlInit_v2(void) { return trouble(); }
int nvmlInitWithFlags(unsigned int flags) { (void)flags; return trouble(); }
int nvmlShutdown(void) { return OK; }

int nvmlDeviceGetCount_v2(unsigned int *count)
{
    Card cards[CARDS];
    *count = read_cards(cards);
    return trouble();
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle)
{
    if (index >= CARDS) return NOT_FOUND;
    Card card;
    places[index] = (int)index;
    *handle = &places[index];
    return card_of(*handle, &card);
}

int nvmlDeviceGetUUID(const int *handle, char *text, unsigned int length)
{
    Card card;
    int code = card_of(handle, &card);
    if (code == OK) snprintf(text, length, "%s", card.uuid);
    return code;
}

int nvmlDeviceGetName(const int *handle, char *text, unsigned int length)
{
    Card card;
    int code = card_of(handle, &card);
    if (code == OK) snprintf(text, length, "%s", card.name);
    return code;
}

int nvmlDeviceGetMemoryInfo(const int *handle, Memory *memory)
{
    Card card;
    Process found[CLAIMS];
    unsigned long long used;
    int code = card_of(handle, &card), count;
    FILE *file = open_in("memory");
    if (file) {
        fclose(file);
        return UNSUPPORTED;
    }
    if (code) return code;
    count = read_claims(card.uuid, found);
    used = card.tenants * MB;
    for (int n = 0; n < count; n++) used += found[n].used;
    memory->total = card.total * MB;
    memory->used = used > memory->total ? memory->total : used;
    memory->free = memory->total - memory->used;
    return OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(const int *handle, unsigned int *count, Process *into)
{
    Card card;
    Process found[CLAIMS];
    int code = card_of(handle, &card), have;
    if (code) return code;
    have = read_claims(card.uuid, found);
    if (have == 0) { *count = 0; return OK; }
    if (!into || *count < (unsigned int)have) { *count = have; return TOO_SMALL; }
    memcpy(into, found, have * sizeof *found);
    *count = have;
    return OK;
}
