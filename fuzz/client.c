/* A whole client with messages in flight, and a socket on which the input comes.
 *
 * The first byte of the input chooses the version, whether CONNACK has come, and whether the socket is a WebSocket; the
 * rest is what the broker sends before it ends the connection. The library's own threads do not run: its receiving thread's
 * function is called, until the connection is over.
 */
#include "Socket.h"

/* Before the library's file is read, which calls the latter. */
static SOCKET ready(int more_work, int timeout, mutex_type mutex, int* rc, int* interrupted);
#define Socket_getReadySocket ready
#include "MQTTAsyncUtils.c"
#undef Socket_getReadySocket
#include "WebSocket.c"

#include <fcntl.h>
#include <sys/socket.h>

int Socket_addSocket(SOCKET socket);

/* How often there may be nothing to read before the input counts as used up. */
#define IDLE 3
/* Messages in flight: the first two at QoS 1, the others at QoS 2. */
#define MESSAGES 5
/* What a socket takes at once. */
#define MOST 65536

static int idle;

static SOCKET ready(int more_work, int timeout, mutex_type mutex, int* rc, int* interrupted)
{
	SOCKET socket = Socket_getReadySocket(more_work, 0, mutex, rc, interrupted);

	(void)timeout;
	if (socket <= 0 && ++idle > IDLE)
		MQTTAsync_tostop = 1;
	return socket;
}

static void succeeded(void* context, MQTTAsync_successData* data) { (void)context; (void)data; }
static void succeeded5(void* context, MQTTAsync_successData5* data) { (void)context; (void)data; }
static void failed(void* context, MQTTAsync_failureData* data) { (void)context; (void)data; }
static void failed5(void* context, MQTTAsync_failureData5* data) { (void)context; (void)data; }
static void lost(void* context, char* cause) { (void)context; (void)cause; }
static void disconnected(void* context, MQTTProperties* properties, enum MQTTReasonCodes reason)
{
	(void)context; (void)properties; (void)reason;
}

static void publish(MQTTAsync handle, int is5)
{
	for (int number = 0; number < MESSAGES; ++number)
	{
		MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;

		if (is5)
		{
			options.onSuccess5 = succeeded5;
			options.onFailure5 = failed5;
		}
		else
		{
			options.onSuccess = succeeded;
			options.onFailure = failed;
		}
		MQTTAsync_send(handle, "topic", 7, "payload", number < 2 ? 1 : 2, 0, &options);
		MQTTAsync_processCommand();
	}
}

static void begin(MQTTAsyncs* m, SOCKET socket, int is5, int is_connected, int is_websocket)
{
	Clients* c = m->c;

	c->net.socket = socket;
	c->MQTTVersion = is5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
	c->good = 1;
	c->maxInflightMessages = 10;
	c->cleansession = c->cleanstart = 1;
	m->connect.details.conn.MQTTVersion = c->MQTTVersion;
	if (is5)
	{
		m->connect.onSuccess5 = succeeded5;
		m->connect.onFailure5 = failed5;
	}
	else
	{
		m->connect.onSuccess = succeeded;
		m->connect.onFailure = failed;
	}
	m->cl = lost;
	m->disconnected = disconnected;
	c->connect_state = is_connected ? NOT_IN_PROGRESS : WAIT_FOR_CONNACK;
	c->connected = is_connected;
	if (is_websocket)
	{
		c->net.websocket = 1;
		c->net.stream = calloc(1, sizeof(*c->net.stream));
		WebSocketFrames_begin(&c->net.stream->frames);
	}
}

/* A client that stays, as the agent has one, so that the library does not begin and end anew with each input. */
int LLVMFuzzerInitialize(int* count, char*** arguments)
{
	MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer5;
	static MQTTAsync stays;

	(void)count; (void)arguments;
	return MQTTAsync_createWithOptions(&stays, "tcp://localhost", "stays", MQTTCLIENT_PERSISTENCE_NONE, NULL, &options);
}

int LLVMFuzzerTestOneInput(const unsigned char* input, size_t length)
{
	MQTTAsync handle = NULL;
	MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer5;
	int ends[2];

	if (length < 1 || length > MOST)
		return 0;
	int is5 = input[0] & 1, is_connected = (input[0] & 6) != 0, is_websocket = (input[0] & 8) != 0;
	options.MQTTVersion = is5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
	if (MQTTAsync_createWithOptions(&handle, "tcp://localhost", "client", MQTTCLIENT_PERSISTENCE_NONE, NULL, &options)
			|| socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		abort();
	Socket_addSocket(ends[0]);
	begin(handle, ends[0], is5, is_connected, is_websocket);
	if (is_connected)
		publish(handle, is5);
	if (write(ends[1], input + 1, length - 1) != (ssize_t)(length - 1))
		abort();
	shutdown(ends[1], SHUT_WR);
	idle = 0;
	MQTTAsync_tostop = 0;
	MQTTAsync_receiveThread(NULL);
	MQTTAsync_tostop = 0;
	MQTTAsync_destroy(&handle);
	if (fcntl(ends[0], F_GETFD) != -1)
	{
		fprintf(stderr, "the socket is still open\n");
		abort();
	}
	close(ends[1]);
	return 0;
}
