/* packhorse: connects can be abandoned without the lock, which is held while a name is looked up. */

#if !defined(ATTEMPT_H)
#define ATTEMPT_H

/** Numbers an attempt to connect, from 1. */
unsigned int Attempt_begin(void);

/**
 * Gives the next attempt that this thread begins a socket that is connected already: no name is looked up for it, and no
 * other connection made. The socket belongs to the library from then on.
 * @param seconds what is left of the time for the attempt, in place of the connectTimeout of its options
 */
void Attempt_give(int socket, int seconds);

/**
 * Takes the socket that was given to the attempt which this thread begins.
 * @param seconds is set where there is one
 * @return the socket; 0: none
 */
int Attempt_takeGiven(int* seconds);

/** Closes a socket that was given and not used. */
void Attempt_dropGiven(int* given);

/** Abandons all attempts that have begun. Takes no lock; attempts that are answered already are not touched. */
void Attempt_abandonAll(void);

/** Whether an attempt was abandoned; 0 is none. */
int Attempt_isAbandoned(unsigned int attempt);

#endif
