/* packhorse: why a connection failed or ended. */

#include <stdarg.h>
#include <stdio.h>

#include "Failure.h"

#if defined(_WIN32)
#define FAILURE_LOCK
#define FAILURE_UNLOCK
#else
#include <pthread.h>
static pthread_mutex_t failure_mutex = PTHREAD_MUTEX_INITIALIZER;
#define FAILURE_LOCK pthread_mutex_lock(&failure_mutex)
#define FAILURE_UNLOCK pthread_mutex_unlock(&failure_mutex)
#endif

static Failure failure = { FAILURE_NONE, 0, 0, "" };

void Failure_set(int kind, long code, const char* format, ...)
{
	va_list args;

	va_start(args, format);
	FAILURE_LOCK;
	failure.kind = kind;
	failure.code = code;
	vsnprintf(failure.text, sizeof(failure.text), format, args);
	FAILURE_UNLOCK;
	va_end(args);
}

/* Notes what says the least: it gives way to everything else. */
static void Failure_atLeast(int kind, long code)
{
	FAILURE_LOCK;
	if (failure.kind == FAILURE_NONE)
	{
		failure.kind = kind;
		failure.code = code;
		failure.text[0] = '\0';
	}
	FAILURE_UNLOCK;
}

void Failure_ended(long code)
{
	Failure_atLeast(FAILURE_ENDED, code);
}

void Failure_silent(void)
{
	Failure_atLeast(FAILURE_SILENT, 0);
}

void Failure_atStage(int stage)
{
	FAILURE_LOCK;
	failure.stage = stage;
	FAILURE_UNLOCK;
}

void Failure_take(Failure* taken)
{
	FAILURE_LOCK;
	*taken = failure;
	failure.kind = FAILURE_NONE;
	failure.stage = 0;
	FAILURE_UNLOCK;
}

void Failure_printable(char* to, size_t room, const char* from, size_t length)
{
	size_t i;

	if (room == 0)
		return;
	for (i = 0; i < length && i + 1 < room; ++i)
		to[i] = (from[i] >= ' ' && from[i] <= '~') ? from[i] : '?';
	to[i] = '\0';
}
