/* Preloaded: answers for broker.example by what the folder holds that RESOLVER names. Notes each look-up in `asked`, and answers
 * with 127.0.0.1 as soon as there is `answer`. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *in_folder(const char *name, char *path, size_t size) {
    snprintf(path, size, "%s/%s", getenv("RESOLVER"), name);
    return path;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    char path[4096];
    if (!node || strcmp(node, "broker.example") != 0)
        return real(node, service, hints, result);
    FILE *asked = fopen(in_folder("asked", path, sizeof path), "a");
    if (asked) {
        fputc('.', asked);
        fclose(asked);
    }
    while (access(in_folder("answer", path, sizeof path), F_OK) != 0)
        usleep(10000);
    return real("127.0.0.1", service, hints, result);
}
