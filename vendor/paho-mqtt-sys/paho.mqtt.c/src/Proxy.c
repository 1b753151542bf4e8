/*******************************************************************************
 * Copyright (c) 2009, 2025 Diehl Metering, Ian Craggs and others
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
 *    Sven Gambel - move WebSocket proxy support to generic proxy support
 *******************************************************************************/

/* packhorse: rewritten. It waited for the answer in the thread that serves all clients, looked at its first 12 bytes, lost what
 * followed it, and wrote the credentials into the trace. */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "Wipe.h"
#include "Base64.h"
#include "Failure.h"
#include "Log.h"
#include "MQTTProtocolOut.h"
#include "Proxy.h"
#include "Socket.h"
#include "StackTrace.h"

#include "Heap.h"

static int Proxy_hexDigit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}


/* Takes the percent encoding off, in place; returns the length. */
static size_t Proxy_decode(char* text, size_t length)
{
	size_t from, to = 0;

	for (from = 0; from < length; ++from)
	{
		if (text[from] == '%' && from + 2 < length &&
				isxdigit((unsigned char)text[from + 1]) && isxdigit((unsigned char)text[from + 2]))
		{
			text[to++] = (char)(Proxy_hexDigit(text[from + 1]) << 4 | Proxy_hexDigit(text[from + 2]));
			from += 2;
		}
		else
			text[to++] = text[from];
	}
	return to;
}


/* Keeps the credentials USER:PASSWORD as the proxy gets them (RFC 7617). */
static int Proxy_setAuth(networkHandles* net, const char* credentials, size_t length)
{
	const size_t room = length + 1;
	char* text = malloc(room);
	b64_size_t size;
	int rc = PAHO_MEMORY_ERROR;

	if (text == NULL)
		return rc;
	memcpy(text, credentials, length);
	length = Proxy_decode(text, length);
	size = Base64_encodeLength((b64_data_t*)text, (b64_size_t)length) + 1;
	if ((net->proxy_auth = malloc(size)) != NULL)
	{
		Base64_encode(net->proxy_auth, size, (b64_data_t*)text, (b64_size_t)length);
		rc = 0;
	}
	Wipe(text, room); /* what was decoded is shorter */
	free(text);
	return rc;
}


/**
 * Lets the next connection go through a proxy.
 * @param url http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT, percent-encoded; it is kept, not copied; NULL: no proxy
 * @return 0, or an error
 */
int Proxy_set(networkHandles* net, const char* url)
{
	static const char scheme[] = "http://";
	const char* at;

	Proxy_end(net);
	if (url == NULL)
		return 0;
	if (strncmp(url, scheme, sizeof(scheme) - 1) != 0)
		return SOCKET_ERROR;
	url += sizeof(scheme) - 1;
	at = strrchr(url, '@');
	net->proxy = at ? at + 1 : url;
	Log(TRACE_PROTOCOL, -1, "Connecting through the proxy %s", net->proxy);
	return at ? Proxy_setAuth(net, url, (size_t)(at - url)) : 0;
}


/** Forgets the proxy, its credentials and its answer. */
void Proxy_end(networkHandles* net)
{
	if (net->proxy_auth)
	{
		Wipe(net->proxy_auth, strlen(net->proxy_auth));
		free(net->proxy_auth);
		net->proxy_auth = NULL;
	}
	net->proxy = NULL;
	HttpHead_free(&net->proxy_head);
}


/** Notes that the proxy cannot be reached; `error`: errno, or SOCKET_ERROR where its name was not found. */
void Proxy_unreachable(networkHandles* net, int error)
{
	Failure_set(FAILURE_PROXY, 0, "cannot reach the proxy %s: %s", net->proxy,
		error > 0 ? strerror(error) : "there is no address for its name");
}


/** Notes that an attempt took too long, where it was the proxy's turn. */
void Proxy_timedOut(networkHandles* net, int connect_state)
{
	if (net->proxy && connect_state == TCP_IN_PROGRESS)
		Proxy_unreachable(net, ETIMEDOUT);
	else if (net->proxy && connect_state == PROXY_CONNECT_IN_PROGRESS)
		Failure_set(FAILURE_PROXY, 0, "the proxy %s does not answer", net->proxy);
}


/**
 * Asks the proxy for a connection to the server (RFC 9110, section 9.3.6).
 * @param uri the server's, without its scheme
 * @return 0, or SOCKET_ERROR
 */
int Proxy_request(networkHandles* net, const char* uri, int default_port)
{
	PacketBuffers none = {0, NULL, NULL, NULL, {0, 0, 0, 0}};
	char* request = NULL;
	int port, i, size = 0, rc = SOCKET_ERROR;
	size_t host_len = MQTTProtocol_addressPort(uri, &port, NULL, default_port);
	/* the length leaves the closing bracket of an IPv6 address out */
	const char* bracket = (uri[0] == '[') ? "]" : "";

	FUNC_ENTRY;
	for (i = 0; i < 2; ++i)
	{
		size = snprintf(request, (size_t)size,
			"CONNECT %.*s%s:%d HTTP/1.1\r\n"
			"Host: %.*s%s:%d\r\n"
			"%s%s%s"
			"\r\n",
			(int)host_len, uri, bracket, port, (int)host_len, uri, bracket, port,
			net->proxy_auth ? "Proxy-Authorization: Basic " : "",
			net->proxy_auth ? net->proxy_auth : "",
			net->proxy_auth ? "\r\n" : "");
		if (size < 0 || (i == 0 && (request = malloc((size_t)++size)) == NULL)) /* with the ending zero */
			goto exit;
	}
	rc = Socket_putdatas(net->socket, request, (size_t)size, none);
	if (rc != TCPSOCKET_INTERRUPTED) /* else it is kept and freed with the rest of the write */
	{
		Wipe(request, (size_t)size);
		free(request);
	}
	if (rc != SOCKET_ERROR)
		rc = 0;
exit:
	FUNC_EXIT_RC(rc);
	return rc;
}


/* Judges a whole answer. */
static int Proxy_judge(networkHandles* net)
{
	char phrase[80];
	int status = HttpHead_status(&net->proxy_head, phrase, sizeof(phrase));

	if (status >= 200 && status <= 299)
		return 1;
	if (status < 0)
		Failure_set(FAILURE_PROXY, 0, "the proxy %s does not answer in HTTP", net->proxy);
	else
		Failure_set(FAILURE_PROXY, status, "the proxy refused: %d%s%s", status, phrase[0] ? " " : "", phrase);
	return SOCKET_ERROR;
}


/* Reads more of the answer. What follows it is the server's, and is left to who speaks with that. */
static HttpHeadState Proxy_read(networkHandles* net, int* rc)
{
	char bytes[1024];
	size_t used = 0;
	HttpHeadState state;
	int count = (int)recv(net->socket, bytes, sizeof(bytes), MSG_PEEK);

	*rc = SOCKET_ERROR;
	if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
	{
		*rc = TCPSOCKET_INTERRUPTED;
		return HTTP_HEAD_MORE;
	}
	if (count <= 0)
	{
		Failure_set(FAILURE_PROXY, 0, "the proxy %s ended the connection%s%s", net->proxy,
			count < 0 ? ": " : " without an answer", count < 0 ? strerror(errno) : "");
		return HTTP_HEAD_MORE;
	}
	state = HttpHead_add(&net->proxy_head, bytes, (size_t)count, &used);
	if (used > 0)
		*rc = (recv(net->socket, bytes, used, 0) == (ssize_t)used) ? 0 : SOCKET_ERROR;
	return state;
}


/**
 * Reads the proxy's answer, as far as it has come.
 * @return 1: the server is behind the socket now; TCPSOCKET_INTERRUPTED: more is to come; SOCKET_ERROR
 */
int Proxy_answer(networkHandles* net)
{
	int rc = 0;

	FUNC_ENTRY;
	while (rc == 0)
	{
		switch (Proxy_read(net, &rc))
		{
		case HTTP_HEAD_MORE:
			break;
		case HTTP_HEAD_WHOLE:
			rc = Proxy_judge(net);
			HttpHead_free(&net->proxy_head);
			break;
		case HTTP_HEAD_TOO_LONG:
			Failure_set(FAILURE_PROXY, 0, "the head of the proxy's answer has more than %u bytes", HTTP_HEAD_MAX);
			rc = SOCKET_ERROR;
			break;
		case HTTP_HEAD_NOT_HTTP:
			Failure_set(FAILURE_PROXY, 0, "the proxy %s does not answer in HTTP", net->proxy);
			rc = SOCKET_ERROR;
			break;
		case HTTP_HEAD_NO_MEMORY:
			rc = SOCKET_ERROR;
			break;
		}
	}
	FUNC_EXIT_RC(rc);
	return rc;
}
