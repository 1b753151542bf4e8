/* packhorse: connects can be abandoned without the lock, which is held while a name is looked up. */

#include <unistd.h>

#include "Attempt.h"

/** The last attempt that has begun, and the last one of those that are abandoned. They may wrap around, after years. */
static unsigned int last = 0;
static unsigned int abandoned = 0;

unsigned int Attempt_begin(void)
{
	return __atomic_add_fetch(&last, 1, __ATOMIC_SEQ_CST);
}


/** What the next attempt of this thread is given; 0: nothing. */
static __thread int next_given = 0;
static __thread int next_seconds = 0;

void Attempt_give(int socket, int seconds)
{
	Attempt_dropGiven(&next_given); /* of an attempt that failed before it began */
	next_given = socket;
	next_seconds = seconds;
}


int Attempt_takeGiven(int* seconds)
{
	int socket = next_given;

	next_given = 0;
	if (socket)
		*seconds = next_seconds;
	return socket;
}


void Attempt_dropGiven(int* given)
{
	if (*given)
		close(*given);
	*given = 0;
}


void Attempt_abandonAll(void)
{
	__atomic_store_n(&abandoned, __atomic_load_n(&last, __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST);
}


int Attempt_isAbandoned(unsigned int attempt)
{
	return attempt != 0 && (int)(__atomic_load_n(&abandoned, __ATOMIC_SEQ_CST) - attempt) >= 0;
}
