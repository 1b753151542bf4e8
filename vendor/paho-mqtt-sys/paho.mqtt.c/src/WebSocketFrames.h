/* packhorse: takes the frames of a WebSocket apart (RFC 6455, section 5), for a client of MQTT.
 *
 * Pure: a state and bytes in; the bytes of the binary messages out, and events. Frames and messages have no meaning to MQTT
 * (MQTT 5, section 6): packets may straddle frames, and frames may hold several packets. So the payload of all data frames is
 * one stream of bytes, and nothing is kept of a frame but its header and a control frame's content.
 */

#if !defined(WEBSOCKETFRAMES_H)
#define WEBSOCKETFRAMES_H

#include <stddef.h>
#include <stdint.h>

/** what a control frame may hold at most (RFC 6455, section 5.5) */
#define WEBSOCKET_CONTROL_MAX 125

/** A longer frame is refused. It may hold many packets, each of which has a bound of its own, but no broker sends one of these. */
#define WEBSOCKET_FRAME_MAX (16u * 1024u * 1024u)

typedef enum
{
	WEBSOCKET_EVENT_NONE,  /**< all input is used, or there is no room for more output */
	WEBSOCKET_EVENT_PING,  /**< the content is in control */
	WEBSOCKET_EVENT_CLOSE, /**< code and reason (the rest of control, from 2) tell why; nothing follows */
	WEBSOCKET_EVENT_ERROR  /**< the peer breaks the protocol; code and error tell how; nothing follows */
} WebSocketEvent;

typedef struct
{
	unsigned char header[10];  /**< as much of the present frame's header as has come */
	size_t header_len;
	uint64_t left;             /**< payload of the present frame that is still to come */
	int opcode;                /**< of the present frame */
	int in_payload;            /**< the header is complete */
	int in_message;            /**< a data message has begun, and its last frame has not */
	int over;                  /**< closed or failed */
	unsigned char control[WEBSOCKET_CONTROL_MAX];
	size_t control_len;
	int code;                  /**< of the CLOSE (1005: it has none), or the one to close with after an error */
	const char* error;
} WebSocketFrames;

void WebSocketFrames_begin(WebSocketFrames* frames);

/**
 * Takes input until it is used up, the output is full, or there is an event. After an event other than NONE, call again for the
 * rest of the input.
 * @param used how many bytes of the input were taken
 * @param made how many bytes of output were written
 */
WebSocketEvent WebSocketFrames_take(WebSocketFrames* frames, const char* in, size_t in_len, size_t* used,
	char* out, size_t out_len, size_t* made);

#endif
