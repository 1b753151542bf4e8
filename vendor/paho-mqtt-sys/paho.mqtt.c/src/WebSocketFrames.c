/* packhorse: takes the frames of a WebSocket apart; see WebSocketFrames.h. */

#include <string.h>

#include "WebSocket.h"
#include "WebSocketFrames.h"
#include "utf-8.h"

void WebSocketFrames_begin(WebSocketFrames* frames)
{
	memset(frames, '\0', sizeof(*frames));
}


static WebSocketEvent WebSocketFrames_fail(WebSocketFrames* frames, int code, const char* error)
{
	frames->over = 1;
	frames->code = code;
	frames->error = error;
	return WEBSOCKET_EVENT_ERROR;
}


static int WebSocketFrames_isControl(int opcode)
{
	return (opcode & 0x8) != 0;
}


/* How many bytes the header has, as far as its first two tell. */
static size_t WebSocketFrames_headerSize(const WebSocketFrames* frames)
{
	if (frames->header_len < 2)
		return 2;
	switch (frames->header[1] & 0x7F)
	{
	case 126:
		return 4;
	case 127:
		return 10;
	default:
		return 2;
	}
}


/* Judges the first two bytes of a header, before more is waited for. */
static WebSocketEvent WebSocketFrames_judge(WebSocketFrames* frames)
{
	int is_final = (frames->header[0] & 0x80) != 0;
	int opcode = frames->header[0] & 0x0F;

	if ((frames->header[0] & 0x70) != 0)
		return WebSocketFrames_fail(frames, WebSocket_CLOSE_PROTOCOL_ERROR, "a frame has reserved bits");
	if ((frames->header[1] & 0x80) != 0)
		return WebSocketFrames_fail(frames, WebSocket_CLOSE_PROTOCOL_ERROR, "a server's frame is masked");
	switch (opcode)
	{
	case WebSocket_OP_CONTINUE:
		if (!frames->in_message)
			return WebSocketFrames_fail(frames, WebSocket_CLOSE_PROTOCOL_ERROR, "a message continues that has not begun");
		break;
	case WebSocket_OP_BINARY:
		if (frames->in_message)
			return WebSocketFrames_fail(frames, WebSocket_CLOSE_PROTOCOL_ERROR, "a message begins in the middle of another one");
		break;
	case WebSocket_OP_TEXT:
		return WebSocketFrames_fail(frames, WebSocket_CLOSE_UNKNOWN_DATA, "a text frame came, and MQTT uses binary frames");
	case WebSocket_OP_CLOSE:
	case WebSocket_OP_PING:
	case WebSocket_OP_PONG:
		if (!is_final)
			return WebSocketFrames_fail(frames, WebSocket_CLOSE_PROTOCOL_ERROR, "a control frame is fragmented");
		if ((frames->header[1] & 0x7F) > WEBSOCKET_CONTROL_MAX)
			return WebSocketFrames_fail(frames, WebSocket_CLOSE_PROTOCOL_ERROR, "a control frame is too long");
		break;
	default:
		return WebSocketFrames_fail(frames, WebSocket_CLOSE_PROTOCOL_ERROR, "a frame has a reserved opcode");
	}
	return WEBSOCKET_EVENT_NONE;
}


/* The header is complete. */
static WebSocketEvent WebSocketFrames_enter(WebSocketFrames* frames)
{
	uint64_t length = frames->header[1] & 0x7F;
	size_t i;

	if (frames->header_len > 2)
	{
		uint64_t smallest = (length == 126) ? 126 : 65536;

		for (length = 0, i = 2; i < frames->header_len; ++i)
			length = (length << 8) | frames->header[i];
		if ((length >> 63) != 0 || length < smallest)
			return WebSocketFrames_fail(frames, WebSocket_CLOSE_PROTOCOL_ERROR, "a frame's length has the wrong form");
		if (length > WEBSOCKET_FRAME_MAX)
			return WebSocketFrames_fail(frames, WebSocket_CLOSE_MSG_TOO_BIG, "a frame is too long");
	}
	frames->opcode = frames->header[0] & 0x0F;
	frames->left = length;
	frames->in_payload = 1;
	if (WebSocketFrames_isControl(frames->opcode))
		frames->control_len = 0;
	else
		frames->in_message = (frames->header[0] & 0x80) == 0;
	return WEBSOCKET_EVENT_NONE;
}


/* Whether a peer may close with this code (RFC 6455, section 7.4; those up to 1014 are registered with IANA). */
static int WebSocketFrames_isCloseCode(int code)
{
	if (code == WebSocket_CLOSE_RESERVED || code == WebSocket_CLOSE_NO_STATUS_CODE || code == WebSocket_CLOSE_ABNORMAL)
		return 0;
	return (code >= 1000 && code <= 1014) || (code >= 3000 && code <= 4999);
}


static WebSocketEvent WebSocketFrames_close(WebSocketFrames* frames)
{
	if (frames->control_len == 0)
		frames->code = WebSocket_CLOSE_NO_STATUS_CODE;
	else if (frames->control_len == 1)
		return WebSocketFrames_fail(frames, WebSocket_CLOSE_PROTOCOL_ERROR, "a close frame has half a code");
	else
	{
		int code = frames->control[0] << 8 | frames->control[1];

		if (!WebSocketFrames_isCloseCode(code))
			return WebSocketFrames_fail(frames, WebSocket_CLOSE_PROTOCOL_ERROR, "a close frame has a code that none may have");
		if (!UTF8_validate((int)frames->control_len - 2, (char*)frames->control + 2))
			return WebSocketFrames_fail(frames, WebSocket_CLOSE_BAD_DATA, "a close frame's reason is not UTF-8");
		frames->code = code;
	}
	frames->over = 1;
	return WEBSOCKET_EVENT_CLOSE;
}


/* The payload is complete. */
static WebSocketEvent WebSocketFrames_leave(WebSocketFrames* frames)
{
	frames->in_payload = 0;
	frames->header_len = 0;
	switch (frames->opcode)
	{
	case WebSocket_OP_PING:
		return WEBSOCKET_EVENT_PING;
	case WebSocket_OP_CLOSE:
		return WebSocketFrames_close(frames);
	default:
		return WEBSOCKET_EVENT_NONE; /* nothing follows from a PONG */
	}
}


/* Takes bytes of the header. */
static WebSocketEvent WebSocketFrames_header(WebSocketFrames* frames, const char* in, size_t in_len, size_t* used)
{
	while (*used < in_len)
	{
		frames->header[frames->header_len++] = (unsigned char)in[(*used)++];
		if (frames->header_len == 2 && WebSocketFrames_judge(frames) == WEBSOCKET_EVENT_ERROR)
			return WEBSOCKET_EVENT_ERROR;
		if (frames->header_len == WebSocketFrames_headerSize(frames))
			return WebSocketFrames_enter(frames);
	}
	return WEBSOCKET_EVENT_NONE;
}


/* Takes bytes of the payload. */
static void WebSocketFrames_payload(WebSocketFrames* frames, const char* in, size_t in_len, size_t* used,
	char* out, size_t out_len, size_t* made)
{
	size_t count = in_len - *used;

	if (count > frames->left)
		count = (size_t)frames->left;
	if (WebSocketFrames_isControl(frames->opcode))
	{
		memcpy(frames->control + frames->control_len, in + *used, count);
		frames->control_len += count;
	}
	else
	{
		if (count > out_len - *made)
			count = out_len - *made;
		memcpy(out + *made, in + *used, count);
		*made += count;
	}
	*used += count;
	frames->left -= count;
}


WebSocketEvent WebSocketFrames_take(WebSocketFrames* frames, const char* in, size_t in_len, size_t* used,
	char* out, size_t out_len, size_t* made)
{
	WebSocketEvent event = WEBSOCKET_EVENT_NONE;

	*used = *made = 0;
	while (event == WEBSOCKET_EVENT_NONE && !frames->over && *used < in_len)
	{
		if (!frames->in_payload)
			event = WebSocketFrames_header(frames, in, in_len, used);
		else if (!WebSocketFrames_isControl(frames->opcode) && *made == out_len)
			break;
		else
			WebSocketFrames_payload(frames, in, in_len, used, out, out_len, made);
		if (event == WEBSOCKET_EVENT_NONE && frames->in_payload && frames->left == 0)
			event = WebSocketFrames_leave(frames);
	}
	return event;
}
