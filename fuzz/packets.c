/* The parsers of what a broker sends, one kind of packet a program: -DFIRST and -DLAST name the kinds (MQTT 5, section 2.1.2).
 *
 * The first byte of the input chooses version and kind, the second one is the packet's flags; the rest is what follows the
 * packet's header, in a buffer of exactly its size.
 */
#include "MQTTPacket.h"
#include "MQTTPacketOut.h"

#include <stdlib.h>
#include <string.h>

extern pf new_packets[];

int LLVMFuzzerTestOneInput(const unsigned char* input, size_t length)
{
	if (length < 2)
		return 0;
	int version = (input[0] & 1) ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
	int type = FIRST + (input[0] >> 1) % (LAST - FIRST + 1);
	unsigned char header = (unsigned char)(type << 4 | (input[1] & 0x0f));

	if (new_packets[type] == NULL || (version < MQTTVERSION_5 && type >= DISCONNECT))
		return 0;
	length -= 2;
	char* body = malloc(length ? length : 1);
	if (length)
		memcpy(body, input + 2, length);
	void* pack = (*new_packets[type])(version, header, body, length);
	if (pack)
		MQTTPacket_free_packet(pack);
	free(body);
	return 0;
}
