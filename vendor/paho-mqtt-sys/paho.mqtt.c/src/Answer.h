/* packhorse: what answers where an MQTT server should. */

#if !defined(ANSWER_H)
#define ANSWER_H

#include "Clients.h"

/**
 * Looks at the first bytes that come over a connection, once, and leaves them where they are.
 * @return whether they are another protocol's, which is noted (Failure.h)
 */
int Answer_isForeign(Clients* client);

#endif
