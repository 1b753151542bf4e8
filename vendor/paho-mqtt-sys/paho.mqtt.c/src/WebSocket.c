/*******************************************************************************
 * Copyright (c) 2018, 2024 Wind River Systems, Inc., Ian Craggs and others
 *
 * All rights reserved. This program and the accompanying materials
 * are made available under the terms of the Eclipse Public License v2.0
 * and Eclipse Distribution License v1.0 which accompany this distribution.
 *
 * The Eclipse Public License is available at
 *    https://www.eclipse.org/legal/epl-2.0/
 * and the Eclipse Distribution License is available at
 *   http://www.eclipse.org/org/documents/edl-v10.php.
 *
 * Contributors:
 *    Keith Holman - initial implementation and documentation
 *    Ian Craggs - use memory tracking
 *    Ian Craggs - fix for one MQTT packet spread over >1 ws frame
 *    Sven Gambel - move WebSocket proxy support to generic proxy support
 *******************************************************************************/

/* packhorse: rewritten. What a connection has under way belongs to the connection (it was shared by all clients of the process),
 * and the payload of the frames is one stream of bytes, which is read as a socket is. See WebSocketFrames.h. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "Wipe.h"
#include "WebSocket.h"

#include "Base64.h"
#include "Failure.h"
#include "HttpHead.h"
#include "Log.h"
#if defined(OPENSSL) && OPENSSL_VERSION_NUMBER >= 0x030000000
#include "openssl/evp.h"
#else
#include "SHA1.h"
#endif
#include "MQTTProtocolOut.h"
#include "SocketBuffer.h"
#include "StackTrace.h"
#include "WebSocketFrames.h"

#if defined(OPENSSL)
#include "SSLSocket.h"
#include <openssl/rand.h>
#else
#include <time.h>
#endif
#include "Socket.h"

#include "Heap.h"

#define HTTP_PROTOCOL(x) ((x) ? "https" : "http")

/** how often a call reads from the socket: a peer that never pauses must not keep the others waiting */
#define READS_MAX 16

/** the mask of a client's frames (RFC 6455, section 5.3) */
#define MASK_SIZE 4

/** 20 bytes of a SHA-1 in Base64 */
#define ACCEPT_SIZE 28

/** what a connection has under way */
struct WebSocketStream
{
	char accept[ACCEPT_SIZE + 1];  /**< what the server's answer has to hold */
	HttpHead head;                 /**< as much of that answer as has come */
	WebSocketFrames frames;
	char in[4096];                 /**< came from the socket, and is not taken apart yet */
	size_t in_pos;
	size_t in_len;
	int over;                      /**< a CLOSE was sent, or has come: nothing is sent or read any more */
	int pong_due;                  /**< a PONG could not be sent yet; only the last one counts (RFC 6455, section 5.5.3) */
	size_t pong_len;
	char pong[WEBSOCKET_CONTROL_MAX];
};


static int WebSocket_random(unsigned char* bytes, int count)
{
#if defined(OPENSSL)
	return RAND_bytes(bytes, count) == 1;
#else
	int i;

	for (i = 0; i < count; ++i)
		bytes[i] = (unsigned char)(rand() >> 4);
	return 1;
#endif
}


/* Sends a buffer, which is the socket's from now on. */
static int WebSocket_send(networkHandles* net, char* buf, size_t len)
{
	PacketBuffers none = {0, NULL, NULL, NULL, {0, 0, 0, 0}};
	int rc;

#if defined(OPENSSL)
	if (net->ssl)
		rc = SSLSocket_putdatas(net->ssl, net->socket, buf, len, none);
	else
#endif
		rc = Socket_putdatas(net->socket, buf, len, none);
	if (rc != TCPSOCKET_INTERRUPTED) /* else it is kept and freed with the rest of the write */
	{
		Wipe(buf, len); /* it may be the CONNECT, beside its mask, or a request with a query */
		free(buf);
	}
	return rc;
}


/* Writes the header of a frame, without its mask; returns its size. */
static size_t WebSocket_header(unsigned char* to, int opcode, size_t len)
{
	size_t size = 2, i;

	to[0] = (unsigned char)(0x80 | opcode); /* the only frame of its message */
	if (len < 126)
		to[1] = (unsigned char)(0x80 | len);
	else
	{
		size = (len < 65536) ? 4 : 10;
		to[1] = (unsigned char)(0x80 | (size == 4 ? 126 : 127));
		for (i = size; i > 2; --i, len >>= 8)
			to[i - 1] = (unsigned char)len;
	}
	return size;
}


/*
 * Sends a frame. What it is made of is copied, so it may stay as it is: it was masked in place, and stayed masked where a write
 * did not finish.
 */
static int WebSocket_sendFrame(networkHandles* net, int opcode, const char* buf0, size_t buf0len, const PacketBuffers* bufs)
{
	size_t len = buf0len, pos, i;
	unsigned char header[10], mask[MASK_SIZE];
	size_t header_len;
	char* frame;
	char* payload;
	int j;

	for (j = 0; bufs && j < bufs->count; ++j)
		len += bufs->buflens[j];
	header_len = WebSocket_header(header, opcode, len);
	if (!WebSocket_random(mask, MASK_SIZE) || (frame = malloc(header_len + MASK_SIZE + len)) == NULL)
		return SOCKET_ERROR;
	memcpy(frame, header, header_len);
	memcpy(frame + header_len, mask, MASK_SIZE);
	payload = frame + header_len + MASK_SIZE;
	if (buf0len > 0)
		memcpy(payload, buf0, buf0len);
	pos = buf0len;
	for (j = 0; bufs && j < bufs->count; ++j)
	{
		if (bufs->buflens[j] > 0)
			memcpy(payload + pos, bufs->buffers[j], bufs->buflens[j]);
		pos += bufs->buflens[j];
	}
	for (i = 0; i < len; ++i)
		payload[i] ^= (char)mask[i % MASK_SIZE];
	return WebSocket_send(net, frame, header_len + MASK_SIZE + len);
}


static void WebSocket_freeStream(networkHandles* net)
{
	if (net->stream)
	{
		HttpHead_free(&net->stream->head);
		free(net->stream);
		net->stream = NULL;
	}
}


/* What the server must answer to a key (RFC 6455, section 4.2.2). Whether it could be made. */
static int WebSocket_expect(const char* key, char* accept)
{
	char text[24 + 36 + 1];
	int rc = 0;
#if defined(OPENSSL) && OPENSSL_VERSION_NUMBER >= 0x030000000
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned int hash_len = 0;
#else
	SHA_CTX context;
	unsigned char hash[SHA1_DIGEST_LENGTH];
	unsigned int hash_len = SHA1_DIGEST_LENGTH;
#endif

	snprintf(text, sizeof(text), "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
#if defined(OPENSSL) && OPENSSL_VERSION_NUMBER >= 0x030000000
	rc = EVP_Digest(text, strlen(text), hash, &hash_len, EVP_sha1(), NULL) == 1;
#else
	SHA1_Init(&context);
	SHA1_Update(&context, text, strlen(text));
	SHA1_Final(hash, &context);
	rc = 1;
#endif
	if (rc)
		Base64_encode(accept, ACCEPT_SIZE + 1, hash, hash_len);
	return rc;
}


/* The headers that the user gave, as text; NULL: no memory. */
static char* WebSocket_userHeaders(const MQTTClient_nameValue* headers)
{
	const MQTTClient_nameValue* header;
	size_t len = 1, pos = 0;
	char* text;

	for (header = headers; header && header->name && header->value; ++header)
		len += strlen(header->name) + strlen(header->value) + 4;
	if ((text = malloc(len)) == NULL)
		return NULL;
	text[0] = '\0';
	for (header = headers; header && header->name && header->value; ++header)
		pos += (size_t)snprintf(text + pos, len - pos, "%s: %s\r\n", header->name, header->value);
	return text;
}


/* The request that begins the handshake; NULL: no memory. It is `*len` long. */
static char* WebSocket_request(networkHandles* net, int ssl, const char* uri, const char* key, size_t* len)
{
	char* headers = WebSocket_userHeaders(net->httpHeaders);
	const char* path = NULL;
	char* request = NULL;
	int port, i, size = 0;
	size_t host_len = MQTTProtocol_addressPort(uri, &port, &path, ssl ? WSS_DEFAULT_PORT : WS_DEFAULT_PORT);
	/* the length leaves the closing bracket of an IPv6 address out */
	const char* bracket = (uri[0] == '[') ? "]" : "";

	for (i = 0; headers && i < 2; ++i)
	{
		size = snprintf(request, (size_t)size,
			"GET %s%s HTTP/1.1\r\n"
			"Host: %.*s%s:%d\r\n"
			"Upgrade: websocket\r\n"
			"Connection: Upgrade\r\n"
			"Origin: %s://%.*s%s:%d\r\n"
			"Sec-WebSocket-Key: %s\r\n"
			"Sec-WebSocket-Version: 13\r\n"
			"Sec-WebSocket-Protocol: mqtt\r\n"
			"%s"
			"\r\n",
			(path && path[0] == '/') ? "" : "/mqtt", path ? path : "",
			(int)host_len, uri, bracket, port,
			HTTP_PROTOCOL(ssl), (int)host_len, uri, bracket, port,
			key, headers);
		if (size < 0)
			break;
		if (i == 0 && (request = malloc((size_t)++size)) == NULL) /* with the ending zero */
			break;
	}
	free(headers);
	*len = (size > 0) ? (size_t)size : 0;
	return request;
}


/**
 * sends out a websocket request on the given uri
 *
 * @param[in]      net                 network connection
 * @param[in]      ssl                 ssl flag
 * @param[in]      uri                 uri to connect to
 *
 * @retval SOCKET_ERROR                on failure
 * @retval 1                           on success
 *
 * @see WebSocket_upgrade
 */
int WebSocket_connect(networkHandles *net, int ssl, const char *uri)
{
	unsigned char bytes[16];
	char key[25];
	char* request = NULL;
	size_t len = 0;
	int rc = SOCKET_ERROR;

	FUNC_ENTRY;
	WebSocket_freeStream(net);
	net->websocket = 0;
	if ((net->stream = malloc(sizeof(*net->stream))) == NULL)
		goto exit;
	memset(net->stream, '\0', sizeof(*net->stream));
	WebSocketFrames_begin(&net->stream->frames);
	if (!WebSocket_random(bytes, sizeof(bytes)))
		goto exit;
	Base64_encode(key, sizeof(key), bytes, sizeof(bytes));
	if (!WebSocket_expect(key, net->stream->accept))
		goto exit;
	if ((request = WebSocket_request(net, ssl, uri, key, &len)) == NULL)
		goto exit;
	if (WebSocket_send(net, request, len) != SOCKET_ERROR)
		rc = 1;
exit:
	FUNC_EXIT_RC(rc);
	return rc;
}


/* Reads what the socket has. > 0: bytes; 0: the peer has ended the connection; else TCPSOCKET_INTERRUPTED or SOCKET_ERROR. */
static int WebSocket_receive(networkHandles* net)
{
	struct WebSocketStream* stream = net->stream;
	int rc;

#if defined(OPENSSL)
	if (net->ssl)
		rc = SSLSocket_receive(net->ssl, net->socket, stream->in, sizeof(stream->in));
	else
#endif
		rc = Socket_receive(net->socket, stream->in, sizeof(stream->in));
	stream->in_pos = 0;
	stream->in_len = rc > 0 ? (size_t)rc : 0;
	return rc;
}


/* Whether there is something to read that waiting for the socket does not tell of. */
static int WebSocket_isReady(networkHandles* net)
{
	if (net->stream->over || net->stream->in_pos < net->stream->in_len)
		return 1;
#if defined(OPENSSL)
	return net->ssl && SSL_pending(net->ssl) > 0;
#else
	return 0;
#endif
}


/* Where a redirection leads, without what may be secret: user, password, query. */
static void WebSocket_location(const HttpHead* head, char* text, size_t room)
{
	const char* value;
	const char* end;
	const char* at;
	size_t len, i;

	text[0] = '\0';
	if (HttpHead_field(head, "Location", &value, &len) == 0)
		return;
	for (i = 0; i < len && value[i] != '?' && value[i] != '#'; ++i)
		;
	for (end = value + i, at = end; at > value && at[-1] != '@'; --at)
		;
	Failure_printable(text, room, at, (size_t)(end - at));
}


/* Judges a whole answer to the handshake (RFC 6455, section 4.1). Whether it opens the WebSocket. */
static int WebSocket_judge(const struct WebSocketStream* stream)
{
	const HttpHead* head = &stream->head;
	const char* value = NULL;
	size_t len = 0;
	char phrase[60], text[120];
	int status = HttpHead_status(head, phrase, sizeof(phrase));
	int count;

	if (status < 0)
		Failure_set(FAILURE_WEBSOCKET, 0, "the server does not answer in HTTP");
	else if (status != 101)
	{
		WebSocket_location(head, text, sizeof(text));
		if (text[0] != '\0' && status >= 300 && status <= 399)
			Failure_set(FAILURE_WEBSOCKET, status, "the server answered %d %s and points to %s; redirections are not followed",
				status, phrase, text);
		else
			Failure_set(FAILURE_WEBSOCKET, status, "the server answered %d%s%s", status, phrase[0] ? " " : "", phrase);
	}
	else if (!HttpHead_lists(head, "Upgrade", "websocket") || !HttpHead_lists(head, "Connection", "upgrade"))
		Failure_set(FAILURE_WEBSOCKET, status, "the server answered 101 without an upgrade to a WebSocket");
	else if (HttpHead_field(head, "Sec-WebSocket-Accept", &value, &len) != 1 || len != ACCEPT_SIZE ||
			memcmp(value, stream->accept, len) != 0)
		Failure_set(FAILURE_WEBSOCKET, status, "the server's Sec-WebSocket-Accept does not answer our key");
	else if (HttpHead_field(head, "Sec-WebSocket-Extensions", &value, &len) > 0 && len > 0)
		Failure_set(FAILURE_WEBSOCKET, status, "the server uses an extension of WebSockets that was not asked for");
	else if ((count = HttpHead_field(head, "Sec-WebSocket-Protocol", &value, &len)) > 0 &&
			(count > 1 || len != 4 || memcmp(value, "mqtt", len) != 0))
	{
		Failure_printable(text, sizeof(text), value, len);
		Failure_set(FAILURE_WEBSOCKET, status, "the server chose the subprotocol `%s` in place of `mqtt`", text);
	}
	else
		return 1;
	return 0;
}


static int WebSocket_isEncrypted(const networkHandles* net)
{
#if defined(OPENSSL)
	return net->ssl != NULL;
#else
	return 0;
#endif
}


/* Reads the answer to the handshake. 1: it is whole; else TCPSOCKET_INTERRUPTED or SOCKET_ERROR. */
static int WebSocket_readAnswer(networkHandles* net)
{
	struct WebSocketStream* stream = net->stream;

	for (;;)
	{
		size_t used = 0;
		int rc = WebSocket_receive(net);

		if (rc == 0 || (rc == SOCKET_ERROR && !WebSocket_isEncrypted(net))) /* TLS notes its own failures */
			Failure_set(FAILURE_WEBSOCKET, 0, "the server ended the connection without an answer to the WebSocket's handshake");
		if (rc == TCPSOCKET_INTERRUPTED)
			return rc;
		if (rc <= 0)
			return SOCKET_ERROR;
		switch (HttpHead_add(&stream->head, stream->in, stream->in_len, &used))
		{
		case HTTP_HEAD_WHOLE:
			stream->in_pos = used; /* what is behind it are frames */
			return 1;
		case HTTP_HEAD_MORE:
			break;
		case HTTP_HEAD_TOO_LONG:
			Failure_set(FAILURE_WEBSOCKET, 0, "the head of the server's answer has more than %u bytes", HTTP_HEAD_MAX);
			return SOCKET_ERROR;
		case HTTP_HEAD_NOT_HTTP:
			Failure_set(FAILURE_WEBSOCKET, 0, "the server does not answer in HTTP");
			return SOCKET_ERROR;
		case HTTP_HEAD_NO_MEMORY:
			return SOCKET_ERROR;
		}
	}
}


/**
 * handles the websocket upgrade response
 *
 * @param[in,out]  net                 network connection to upgrade
 *
 * @retval SOCKET_ERROR                failed to upgrade network connection
 * @retval TCPSOCKET_INTERRUPTED       upgrade not complete, but not failed.  Try again
 * @retval 1                           socket upgraded to use websockets
 *
 * @see WebSocket_connect
 */
int WebSocket_upgrade(networkHandles *net)
{
	int rc = SOCKET_ERROR;

	FUNC_ENTRY;
	if (net->stream && (rc = WebSocket_readAnswer(net)) == 1)
	{
		if (WebSocket_judge(net->stream))
		{
			net->websocket = 1;
			Log(TRACE_PROTOCOL, 1, "WebSocket connection upgraded");
			if (WebSocket_isReady(net))
				Socket_addPendingRead(net->socket);
		}
		else
		{
			Log(TRACE_PROTOCOL, 1, "WebSocket failed to upgrade connection");
			rc = SOCKET_ERROR;
		}
		HttpHead_free(&net->stream->head);
	}
	FUNC_EXIT_RC(rc);
	return rc;
}


/* Sends a CLOSE, where nothing else is in the middle of being sent. Nothing follows it. `reason` may be NULL. */
static void WebSocket_sendClose(networkHandles* net, int code, const char* reason)
{
	char content[WEBSOCKET_CONTROL_MAX];
	size_t len = 0;

	if (net->stream->over)
		return;
	net->stream->over = 1;
	if (!Socket_noPendingWrites(net->socket))
		return;
	if (code != WebSocket_CLOSE_NO_STATUS_CODE) /* that one is never sent */
	{
		content[len++] = (char)(code >> 8);
		content[len++] = (char)code;
	}
	if (reason)
	{
		size_t reason_len = strlen(reason);

		if (reason_len > sizeof(content) - len)
			reason_len = sizeof(content) - len;
		memcpy(content + len, reason, reason_len);
		len += reason_len;
	}
	WebSocket_sendFrame(net, WebSocket_OP_CLOSE, content, len, NULL);
}


/**
 * closes a websocket connection
 *
 * @param[in,out]  net                 structure containing network connection
 * @param[in]      status_code         websocket close status code
 * @param[in]      reason              reason for closing connection (optional)
 */
void WebSocket_close(networkHandles *net, int status_code, const char *reason)
{
	FUNC_ENTRY;
	if (net->websocket && net->stream)
		WebSocket_sendClose(net, status_code, reason);
	net->websocket = 0;
	WebSocket_freeStream(net);
	FUNC_EXIT;
}


/* Sends the PONG that is due, unless something else is in the middle of being sent. */
static void WebSocket_pong(networkHandles* net)
{
	struct WebSocketStream* stream = net->stream;

	if (stream->pong_due && !stream->over && Socket_noPendingWrites(net->socket))
	{
		stream->pong_due = 0;
		Log(TRACE_PROTOCOL, 1, "Sending WebSocket PONG");
		WebSocket_sendFrame(net, WebSocket_OP_PONG, stream->pong, stream->pong_len, NULL);
	}
}


/* The server has closed the WebSocket: the same code is the answer (RFC 6455, section 5.5.1). */
static void WebSocket_closed(networkHandles* net)
{
	WebSocketFrames* frames = &net->stream->frames;
	char reason[WEBSOCKET_CONTROL_MAX] = "";

	if (frames->control_len > 2)
		Failure_printable(reason, sizeof(reason), (char*)frames->control + 2, frames->control_len - 2);
	if (frames->code == WebSocket_CLOSE_NO_STATUS_CODE)
		Failure_set(FAILURE_WEBSOCKET, frames->code, "the server closed the WebSocket without saying why");
	else
		Failure_set(FAILURE_WEBSOCKET, frames->code, "the server closed the WebSocket: %d%s%s",
			frames->code, reason[0] ? " " : "", reason);
	WebSocket_sendClose(net, frames->code, NULL);
}


/* Takes apart what has been read; returns how many bytes were made of it. */
static size_t WebSocket_take(networkHandles* net, char* buf, size_t len)
{
	struct WebSocketStream* stream = net->stream;
	WebSocketFrames* frames = &stream->frames;
	size_t count = 0;

	while (count < len && !stream->over && stream->in_pos < stream->in_len)
	{
		size_t used, made;
		WebSocketEvent event = WebSocketFrames_take(frames, stream->in + stream->in_pos, stream->in_len - stream->in_pos,
			&used, buf + count, len - count, &made);

		stream->in_pos += used;
		count += made;
		switch (event)
		{
		case WEBSOCKET_EVENT_NONE:
			break;
		case WEBSOCKET_EVENT_PING:
			stream->pong_due = 1;
			stream->pong_len = frames->control_len;
			memcpy(stream->pong, frames->control, frames->control_len);
			WebSocket_pong(net);
			break;
		case WEBSOCKET_EVENT_CLOSE:
			WebSocket_closed(net);
			break;
		case WEBSOCKET_EVENT_ERROR:
			Failure_set(FAILURE_WEBSOCKET, frames->code, "the server breaks the WebSocket protocol: %s", frames->error);
			WebSocket_sendClose(net, frames->code, frames->error);
			break;
		}
	}
	return count;
}


/*
 * Reads from the stream of bytes that the frames carry, like recv from a socket: as many as are there, at most `len`.
 * TCPSOCKET_INTERRUPTED: none at present; SOCKET_ERROR: no more come.
 */
static int WebSocket_read(networkHandles* net, char* buf, size_t len)
{
	struct WebSocketStream* stream = net->stream;
	size_t count = 0;
	int reads = 0, rc = TCPSOCKET_INTERRUPTED;

	if (stream == NULL)
		return SOCKET_ERROR;
	WebSocket_pong(net);
	while ((count += WebSocket_take(net, buf + count, len - count)) < len && !stream->over)
	{
		if (reads++ == READS_MAX)
		{
			Socket_addPendingRead(net->socket);
			break;
		}
		if ((rc = WebSocket_receive(net)) <= 0)
			break;
	}
	if (count > 0)
	{
		if (stream->over || rc == 0 || rc == SOCKET_ERROR) /* that has still to be told, and the socket may not say so again */
			Socket_addPendingRead(net->socket);
		return (int)count;
	}
	return (stream->over || rc == 0 || rc == SOCKET_ERROR) ? SOCKET_ERROR : TCPSOCKET_INTERRUPTED;
}


/* Socket_getch for the stream of a WebSocket. */
static int WebSocket_streamGetch(networkHandles* net, char* c)
{
	int rc = SocketBuffer_getQueuedChar(net->socket, c);

	if (rc != SOCKETBUFFER_INTERRUPTED)
		return rc;
	rc = WebSocket_read(net, c, 1);
	if (rc == TCPSOCKET_INTERRUPTED)
		SocketBuffer_interrupted(net->socket, 0);
	else if (rc == 1)
	{
		SocketBuffer_queueChar(net->socket, *c);
		rc = TCPSOCKET_COMPLETE;
	}
	return rc;
}


/* Socket_getdata for the stream of a WebSocket. */
static char* WebSocket_streamGetdata(networkHandles* net, size_t bytes, size_t* actual_len)
{
	char* buf;
	int rc;

	if (bytes > 0)
	{
		if ((buf = SocketBuffer_getQueuedData(net->socket, bytes, actual_len)) == NULL)
			return NULL;
		if (*actual_len < bytes)
		{
			rc = WebSocket_read(net, buf + *actual_len, bytes - *actual_len);
			if (rc == SOCKET_ERROR)
				return NULL;
			if (rc > 0)
				*actual_len += (size_t)rc;
		}
		if (*actual_len < bytes)
		{
			SocketBuffer_interrupted(net->socket, *actual_len);
			return buf;
		}
	}
	/* a whole packet; the next one may be here already, and the socket would not tell */
	if (net->stream && WebSocket_isReady(net))
		Socket_addPendingRead(net->socket);
	return SocketBuffer_complete(net->socket);
}


/**
 * @brief receives 1 byte from a socket
 *
 * @param[in,out]  net                 network connection
 * @param[out]     c                   byte that was read
 *
 * @retval SOCKET_ERROR                on error
 * @retval TCPSOCKET_INTERRUPTED       no data available
 * @retval TCPSOCKET_COMPLETE          on success
 *
 * @see WebSocket_getdata
 */
int WebSocket_getch(networkHandles *net, char* c)
{
	int rc;

	FUNC_ENTRY;
	if (net->websocket)
		rc = WebSocket_streamGetch(net, c);
#if defined(OPENSSL)
	else if (net->ssl)
		rc = SSLSocket_getch(net->ssl, net->socket, c);
#endif
	else
		rc = Socket_getch(net->socket, c);
	FUNC_EXIT_RC(rc);
	return rc;
}


/**
 * @brief receives data from a socket, as much of what is asked for as is available
 *
 * @param[in,out]  net                 network connection
 * @param[in]      bytes               amount of data to get (0 if last packet)
 * @param[out]     actual_len          amount of data read
 *
 * @return a pointer to the read data
 *
 * @see WebSocket_getch
 */
char *WebSocket_getdata(networkHandles *net, size_t bytes, size_t* actual_len)
{
	char *rv;
	int rc = 0;

	FUNC_ENTRY;
	if (net->websocket)
		rv = WebSocket_streamGetdata(net, bytes, actual_len);
#if defined(OPENSSL)
	else if (net->ssl)
		rv = SSLSocket_getdata(net->ssl, net->socket, bytes, actual_len, &rc);
#endif
	else
		rv = Socket_getdata(net->socket, bytes, actual_len, &rc);
	FUNC_EXIT_RC(rc);
	return rv;
}


/* Gives up the buffers that are not the caller's any more after an interrupted write, as SSLSocket_putdatas does. */
static void WebSocket_freeCopied(char** buf0, PacketBuffers* bufs)
{
	int i;

	free(*buf0);
	for (i = 0; i < bufs->count; ++i)
	{
		if (bufs->frees[i])
		{
			Wipe(bufs->buffers[i], bufs->buflens[i]);
			free(bufs->buffers[i]);
			bufs->buffers[i] = NULL;
		}
	}
}


/**
 * writes data to a socket, in a websocket frame if required
 *
 * @param[in,out]  net                 network connection
 * @param[in,out]  buf0                first buffer
 * @param[in]      buf0len             size of first buffer
 * @param[in,out]  bufs                the other buffers
 *
 * @return completion code
 */
int WebSocket_putdatas(networkHandles* net, char** buf0, size_t* buf0len, PacketBuffers* bufs)
{
	int rc;

	FUNC_ENTRY;
	if (net->websocket)
	{
		if (net->stream == NULL || net->stream->over)
			rc = SOCKET_ERROR; /* nothing follows a CLOSE */
		else if ((rc = WebSocket_sendFrame(net, WebSocket_OP_BINARY, *buf0, *buf0len, bufs)) == TCPSOCKET_INTERRUPTED)
			WebSocket_freeCopied(buf0, bufs);
	}
#if defined(OPENSSL)
	else if (net->ssl)
		rc = SSLSocket_putdatas(net->ssl, net->socket, *buf0, *buf0len, *bufs);
#endif
	else
		rc = Socket_putdatas(net->socket, *buf0, *buf0len, *bufs);
	FUNC_EXIT_RC(rc);
	return rc;
}


/**
 * releases resources used by the websocket sub-system
 */
void WebSocket_terminate(void)
{
	FUNC_ENTRY;
	Socket_outTerminate();
#if defined(OPENSSL)
	SSLSocket_terminate();
#endif
	FUNC_EXIT;
}
