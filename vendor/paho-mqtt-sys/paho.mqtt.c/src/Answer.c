/* packhorse: what answers where an MQTT server should. */

#include <errno.h>
#include <sys/socket.h>

#include "Answer.h"
#include "Failure.h"
#if defined(OPENSSL)
#include "SSLSocket.h"
#endif

#include "Heap.h"

/** as many bytes of a greeting as a log line may have */
#define GREETING_MAX 60
/** no packet of MQTT begins with so many printable characters: CONNACK has a zero or a one among them, DISCONNECT and AUTH begin above */
#define TEXT_MIN 4
/** a record of TLS with an alert, and the version's first byte (RFC 8446, section 5.1) */
#define TLS_ALERT 0x15
#define TLS_VERSION 0x03

static int Answer_peek(networkHandles* net, char* bytes, int room)
{
	int count;

#if defined(OPENSSL)
	if (net->ssl)
		return SSLSocket_peek(net->ssl, bytes, (size_t)room);
#endif
	/* Looking takes the socket's error away: whoever reads then finds an end in order. */
	if ((count = (int)recv(net->socket, bytes, (size_t)room, MSG_PEEK)) < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
		Failure_ended(errno);
	return count;
}


static int Answer_isText(char c)
{
	return (c >= ' ' && c <= '~') || c == '\r' || c == '\n' || c == '\t';
}


int Answer_isForeign(Clients* client)
{
	char bytes[GREETING_MAX], shown[GREETING_MAX + 1];
	int count, text = 0, line = 0;

	if (client->answered || client->net.websocket) /* HTTP has led to a WebSocket: who is there is known */
		return 0;
	if ((count = Answer_peek(&client->net, bytes, (int)sizeof(bytes))) <= 0)
		return 0; /* reading will tell */
	client->answered = 1;
	if (count >= 2 && bytes[0] == TLS_ALERT && bytes[1] == TLS_VERSION)
	{
		Failure_set(FAILURE_EXPECTS_TLS, 0, "%s", "");
		return 1;
	}
	while (text < count && Answer_isText(bytes[text]))
		++text;
	if (text < TEXT_MIN)
		return 0;
	while (line < text && bytes[line] != '\r' && bytes[line] != '\n')
		++line;
	Failure_printable(shown, sizeof(shown), bytes, (size_t)line);
	Failure_set(FAILURE_FOREIGN, 0, "%s", shown);
	return 1;
}
