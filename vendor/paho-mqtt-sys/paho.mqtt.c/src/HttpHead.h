/* packhorse: the head of an HTTP response, as the handshakes with a WebSocket server and with a proxy get it.
 *
 * It comes in pieces of any size, is bounded, and is never looked at before it is whole.
 */

#if !defined(HTTPHEAD_H)
#define HTTPHEAD_H

#include <stddef.h>

/** A longer head is refused. Bytes. */
#define HTTP_HEAD_MAX (16u * 1024u)

typedef enum
{
	HTTP_HEAD_MORE,     /**< it is not whole yet */
	HTTP_HEAD_WHOLE,
	HTTP_HEAD_TOO_LONG,
	HTTP_HEAD_NOT_HTTP, /**< it begins with something else */
	HTTP_HEAD_NO_MEMORY
} HttpHeadState;

typedef struct
{
	char* text; /**< without a zero at its end; zeros may be in it */
	size_t length;
	size_t room;
} HttpHead;

/**
 * Adds what has come.
 * @param used how many of the bytes belong to the head; those behind it are the next protocol's
 */
HttpHeadState HttpHead_add(HttpHead* head, const char* bytes, size_t count, size_t* used);

void HttpHead_free(HttpHead* head);

/**
 * The status code of a whole head, 100 to 999; -1: it has none.
 * @param phrase the reason phrase as printable ASCII, cut to its room
 */
int HttpHead_status(const HttpHead* head, char* phrase, size_t room);

/**
 * Looks for a field of a whole head, whatever the case of its name.
 * @param value the first one's value without the space around it
 * @return how often the field is there
 */
int HttpHead_field(const HttpHead* head, const char* name, const char** value, size_t* length);

/** Whether a field's list has this word, whatever its case. */
int HttpHead_lists(const HttpHead* head, const char* name, const char* word);

#endif
