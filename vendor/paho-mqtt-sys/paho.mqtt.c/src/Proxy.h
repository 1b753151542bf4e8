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
 *    Sven Gambel - move WebSocket proxy support to generic proxy support
 *******************************************************************************/

#if !defined(PROXY_H)
#define PROXY_H

#include "Clients.h"

int Proxy_set(networkHandles* net, const char* url);
void Proxy_end(networkHandles* net);

int Proxy_request(networkHandles* net, const char* uri, int default_port);
int Proxy_answer(networkHandles* net);

void Proxy_unreachable(networkHandles* net, int error);
void Proxy_timedOut(networkHandles* net, int connect_state);

#endif /* PROXY_H */
