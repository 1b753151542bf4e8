/* packhorse: connects can be abandoned without the lock, which is held while a name is looked up. */

#include "Attempt.h"

/** The last attempt that has begun, and the last one of those that are abandoned. They may wrap around, after years. */
static unsigned int last = 0;
static unsigned int abandoned = 0;

unsigned int Attempt_begin(void)
{
	return __atomic_add_fetch(&last, 1, __ATOMIC_SEQ_CST);
}


void Attempt_abandonAll(void)
{
	__atomic_store_n(&abandoned, __atomic_load_n(&last, __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST);
}


int Attempt_isAbandoned(unsigned int attempt)
{
	return attempt != 0 && (int)(__atomic_load_n(&abandoned, __ATOMIC_SEQ_CST) - attempt) >= 0;
}
