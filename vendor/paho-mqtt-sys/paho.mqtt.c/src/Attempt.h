/* packhorse: connects can be abandoned without the lock, which is held while a name is looked up. */

#if !defined(ATTEMPT_H)
#define ATTEMPT_H

/** Numbers an attempt to connect, from 1. */
unsigned int Attempt_begin(void);

/** Abandons all attempts that have begun. Takes no lock; attempts that are answered already are not touched. */
void Attempt_abandonAll(void);

/** Whether an attempt was abandoned; 0 is none. */
int Attempt_isAbandoned(unsigned int attempt);

#endif
