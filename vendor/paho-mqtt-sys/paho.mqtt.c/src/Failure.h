/* packhorse: why a connection failed or ended. MQTTAsync tells its users no more than that one did. */

#if !defined(FAILURE_H)
#define FAILURE_H

#include <stddef.h>

#define FAILURE_NONE 0
/** TLS: the peer's certificate is not accepted; code: X509_V_ERR_... */
#define FAILURE_TLS_CERTIFICATE 1
/** TLS: the peer's certificate is for another name; code: 1 where its common name is the right one */
#define FAILURE_TLS_NAME 2
/** TLS: the peer has sent an alert; code: its number (RFC 8446, section 6) */
#define FAILURE_TLS_ALERT 3
/** TLS: anything else; code: OpenSSL's */
#define FAILURE_TLS_OTHER 4
/** the WebSocket or its handshake; code: the HTTP status or the close code (RFC 6455, section 7.4), 0 where there is none */
#define FAILURE_WEBSOCKET 5
/** the proxy on the way; code: the HTTP status, 0 where there is none */
#define FAILURE_PROXY 6
/** MQTT: what the server sent and must not; nothing of it is in the text but numbers */
#define FAILURE_PROTOCOL 7
/** the connection itself has ended; code: errno, 0 where the other side ended it in order */
#define FAILURE_ENDED 8
/** nothing came in time */
#define FAILURE_SILENT 9
/** the server's first bytes are no MQTT; the text shows them, where they are text */
#define FAILURE_FOREIGN 10
/** the server's first bytes are TLS's, on a connection without */
#define FAILURE_EXPECTS_TLS 11

typedef struct
{
	int kind;
	/** how far the connect had come, as Clients.h numbers it; 0: it was over */
	int stage;
	long code;
	/** printable ASCII: what others sent is shortened, and other characters are question marks */
	char text[256];
} Failure;

/** Notes a failure, in place of any former one. The text is formatted like printf's. */
void Failure_set(int kind, long code, const char* format, ...);

/** Notes the end of a connection, unless its reason is known already. */
void Failure_ended(long code);

/** Notes that nothing came in time, unless another reason is known already. */
void Failure_silent(void);

/** Notes how far the connect had come that has failed. */
void Failure_atStage(int stage);

/** Gives the last failure of any connection of this process, and forgets it. */
void Failure_take(Failure* taken);

/** Copies foreign bytes as printable ASCII, as many as there is room for. */
void Failure_printable(char* to, size_t room, const char* from, size_t length);

#endif
