/* The frames of a WebSocket and the head of an HTTP answer, in pieces of any size.
 *
 * The first byte of the input chooses which, the second one how large the pieces are.
 */
#include "HttpHead.h"
#include "WebSocketFrames.h"

#include <stdlib.h>
#include <string.h>

static void head(const char* input, size_t length, size_t piece)
{
	HttpHead head;
	memset(&head, 0, sizeof(head));
	HttpHeadState state = HTTP_HEAD_MORE;

	while (state == HTTP_HEAD_MORE && length > 0)
	{
		size_t count = length < piece ? length : piece, used = 0;
		char* bytes = malloc(count);

		memcpy(bytes, input, count);
		state = HttpHead_add(&head, bytes, count, &used);
		free(bytes);
		if (used > count)
			abort();
		input += count;
		length -= count;
	}
	if (state == HTTP_HEAD_WHOLE)
	{
		char phrase[60];
		const char* value = NULL;
		size_t len = 0;

		HttpHead_status(&head, phrase, sizeof(phrase));
		HttpHead_field(&head, "Sec-WebSocket-Accept", &value, &len);
		HttpHead_lists(&head, "Connection", "upgrade");
	}
	HttpHead_free(&head);
}

static void frames(const char* input, size_t length, size_t piece)
{
	WebSocketFrames frames;
	char out[64];

	WebSocketFrames_begin(&frames);
	while (length > 0)
	{
		size_t count = length < piece ? length : piece, at = 0;
		char* bytes = malloc(count);

		memcpy(bytes, input, count);
		for (;;)
		{
			size_t used = 0, made = 0;
			size_t room = 1 + piece % sizeof(out);
			WebSocketEvent event = WebSocketFrames_take(&frames, bytes + at, count - at, &used, out, room, &made);

			if (used > count - at || made > room)
				abort();
			at += used;
			if (event == WEBSOCKET_EVENT_CLOSE || event == WEBSOCKET_EVENT_ERROR)
			{
				free(bytes);
				return;
			}
			if (event == WEBSOCKET_EVENT_NONE && made < room)
				break;
		}
		free(bytes);
		input += count;
		length -= count;
	}
}

int LLVMFuzzerTestOneInput(const unsigned char* input, size_t length)
{
	if (length < 2)
		return 0;
	size_t piece = 1 + input[1];

	if (input[0] & 1)
		head((const char*)input + 2, length - 2, piece);
	else
		frames((const char*)input + 2, length - 2, piece);
	return 0;
}
