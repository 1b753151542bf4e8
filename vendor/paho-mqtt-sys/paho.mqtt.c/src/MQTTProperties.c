/*******************************************************************************
 * Copyright (c) 2017, 2024 IBM Corp. and others
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
 *    Ian Craggs - initial API and implementation and/or initial documentation
 *******************************************************************************/

#include "MQTTProperties.h"

#include "MQTTPacket.h"
#include "MQTTProtocolClient.h"
#include "Heap.h"
#include "StackTrace.h"

#include <memory.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(a[0]))

static struct nameToType
{
  enum MQTTPropertyCodes name;
  enum MQTTPropertyTypes type;
} namesToTypes[] =
{
  {MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR, MQTTPROPERTY_TYPE_BYTE},
  {MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL, MQTTPROPERTY_TYPE_FOUR_BYTE_INTEGER},
  {MQTTPROPERTY_CODE_CONTENT_TYPE, MQTTPROPERTY_TYPE_UTF_8_ENCODED_STRING},
  {MQTTPROPERTY_CODE_RESPONSE_TOPIC, MQTTPROPERTY_TYPE_UTF_8_ENCODED_STRING},
  {MQTTPROPERTY_CODE_CORRELATION_DATA, MQTTPROPERTY_TYPE_BINARY_DATA},
  {MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER, MQTTPROPERTY_TYPE_VARIABLE_BYTE_INTEGER},
  {MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, MQTTPROPERTY_TYPE_FOUR_BYTE_INTEGER},
  {MQTTPROPERTY_CODE_ASSIGNED_CLIENT_IDENTIFIER, MQTTPROPERTY_TYPE_UTF_8_ENCODED_STRING},
  {MQTTPROPERTY_CODE_SERVER_KEEP_ALIVE, MQTTPROPERTY_TYPE_TWO_BYTE_INTEGER},
  {MQTTPROPERTY_CODE_AUTHENTICATION_METHOD, MQTTPROPERTY_TYPE_UTF_8_ENCODED_STRING},
  {MQTTPROPERTY_CODE_AUTHENTICATION_DATA, MQTTPROPERTY_TYPE_BINARY_DATA},
  {MQTTPROPERTY_CODE_REQUEST_PROBLEM_INFORMATION, MQTTPROPERTY_TYPE_BYTE},
  {MQTTPROPERTY_CODE_WILL_DELAY_INTERVAL, MQTTPROPERTY_TYPE_FOUR_BYTE_INTEGER},
  {MQTTPROPERTY_CODE_REQUEST_RESPONSE_INFORMATION, MQTTPROPERTY_TYPE_BYTE},
  {MQTTPROPERTY_CODE_RESPONSE_INFORMATION, MQTTPROPERTY_TYPE_UTF_8_ENCODED_STRING},
  {MQTTPROPERTY_CODE_SERVER_REFERENCE, MQTTPROPERTY_TYPE_UTF_8_ENCODED_STRING},
  {MQTTPROPERTY_CODE_REASON_STRING, MQTTPROPERTY_TYPE_UTF_8_ENCODED_STRING},
  {MQTTPROPERTY_CODE_RECEIVE_MAXIMUM, MQTTPROPERTY_TYPE_TWO_BYTE_INTEGER},
  {MQTTPROPERTY_CODE_TOPIC_ALIAS_MAXIMUM, MQTTPROPERTY_TYPE_TWO_BYTE_INTEGER},
  {MQTTPROPERTY_CODE_TOPIC_ALIAS, MQTTPROPERTY_TYPE_TWO_BYTE_INTEGER},
  {MQTTPROPERTY_CODE_MAXIMUM_QOS, MQTTPROPERTY_TYPE_BYTE},
  {MQTTPROPERTY_CODE_RETAIN_AVAILABLE, MQTTPROPERTY_TYPE_BYTE},
  {MQTTPROPERTY_CODE_USER_PROPERTY, MQTTPROPERTY_TYPE_UTF_8_STRING_PAIR},
  {MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE, MQTTPROPERTY_TYPE_FOUR_BYTE_INTEGER},
  {MQTTPROPERTY_CODE_WILDCARD_SUBSCRIPTION_AVAILABLE, MQTTPROPERTY_TYPE_BYTE},
  {MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIERS_AVAILABLE, MQTTPROPERTY_TYPE_BYTE},
  {MQTTPROPERTY_CODE_SHARED_SUBSCRIPTION_AVAILABLE, MQTTPROPERTY_TYPE_BYTE}
};


static char* datadup(const MQTTLenString* str)
{
	char* temp = malloc(str->len > 0 ? str->len : 1);
	if (temp && str->len > 0)
		memcpy(temp, str->data, str->len);
	return temp;
}


/* Reads a string or binary data of a property. Text must be UTF-8 without U+0000 (MQTT 5, section 1.5.4): what uses
 * it later takes it for a string of C. */
static int MQTTProperty_readString(MQTTLenString* string, char** pptr, char* enddata, int isText)
{
	int len = MQTTLenStringRead(string, pptr, enddata);

	return (len != -1 && isText && !MQTTPacket_isText(string->data, string->len)) ? -1 : len;
}


int MQTTProperty_getType(enum MQTTPropertyCodes value)
{
  int i, rc = -1;

  for (i = 0; i < ARRAY_SIZE(namesToTypes); ++i)
  {
    if (namesToTypes[i].name == value)
    {
      rc = namesToTypes[i].type;
      break;
    }
  }
  return rc;
}


int MQTTProperties_len(const MQTTProperties* props)
{
  /* properties length is an mbi */
  return (props == NULL) ? 1 : props->length + MQTTPacket_VBIlen(props->length);
}


/**
 * Add a new property to a property list
 * @param props the property list
 * @param prop the new property
 * @return code 0 is success
 */
int MQTTProperties_add(MQTTProperties* props, const MQTTProperty* prop)
{
  int rc = 0, type;

  if (props == NULL)
  {
    rc = PAHO_MEMORY_ERROR;
    goto exit;
  }
  if ((type = MQTTProperty_getType(prop->identifier)) < 0)
  {
	/*StackTrace_printStack(stdout);*/
    rc = MQTT_INVALID_PROPERTY_ID;
    goto exit;
  }
  else if (props->array == NULL)
  {
    props->max_count = 10;
    props->array = malloc(sizeof(MQTTProperty) * props->max_count);
  }
  else if (props->count == props->max_count)
  {
    props->max_count += 10;
    void* newPtr = realloc(props->array, sizeof(MQTTProperty) * props->max_count);
    if (newPtr == NULL)
    {
      free(props->array);
      props->array = NULL;
    }
    else
    {
      props->array = newPtr;
    }
  }

  if (props->array)
  {
    int len = 0;

    props->array[props->count++] = *prop;
    /* calculate length */
    switch (type)
    {
      case MQTTPROPERTY_TYPE_BYTE:
        len = 1;
        break;
      case MQTTPROPERTY_TYPE_TWO_BYTE_INTEGER:
        len = 2;
        break;
      case MQTTPROPERTY_TYPE_FOUR_BYTE_INTEGER:
        len = 4;
        break;
      case MQTTPROPERTY_TYPE_VARIABLE_BYTE_INTEGER:
        len = MQTTPacket_VBIlen(prop->value.integer4);
        break;
      case MQTTPROPERTY_TYPE_BINARY_DATA:
      case MQTTPROPERTY_TYPE_UTF_8_ENCODED_STRING:
      case MQTTPROPERTY_TYPE_UTF_8_STRING_PAIR:
        len = 2 + prop->value.data.len;
        props->array[props->count-1].value.data.data = datadup(&prop->value.data);
        if (type == MQTTPROPERTY_TYPE_UTF_8_STRING_PAIR)
        {
          len += 2 + prop->value.value.len;
          props->array[props->count-1].value.value.data = datadup(&prop->value.value);
        }
        break;
    }
    props->length += len + 1; /* add identifier byte */
  }
  else
	  rc = PAHO_MEMORY_ERROR;

exit:
  return rc;
}


int MQTTProperty_write(char** pptr, MQTTProperty* prop)
{
  int rc = -1,
      type = -1;

  type = MQTTProperty_getType(prop->identifier);
  if (type >= MQTTPROPERTY_TYPE_BYTE && type <= MQTTPROPERTY_TYPE_UTF_8_STRING_PAIR)
  {
    writeChar(pptr, prop->identifier);
    switch (type)
    {
      case MQTTPROPERTY_TYPE_BYTE:
        writeChar(pptr, prop->value.byte);
        rc = 1;
        break;
      case MQTTPROPERTY_TYPE_TWO_BYTE_INTEGER:
        writeInt(pptr, prop->value.integer2);
        rc = 2;
        break;
      case MQTTPROPERTY_TYPE_FOUR_BYTE_INTEGER:
        writeInt4(pptr, prop->value.integer4);
        rc = 4;
        break;
      case MQTTPROPERTY_TYPE_VARIABLE_BYTE_INTEGER:
        rc = MQTTPacket_encode(*pptr, prop->value.integer4);
        *pptr += rc;
        break;
      case MQTTPROPERTY_TYPE_BINARY_DATA:
      case MQTTPROPERTY_TYPE_UTF_8_ENCODED_STRING:
        writeMQTTLenString(pptr, prop->value.data);
        rc = prop->value.data.len + 2; /* include length field */
        break;
      case MQTTPROPERTY_TYPE_UTF_8_STRING_PAIR:
        writeMQTTLenString(pptr, prop->value.data);
        writeMQTTLenString(pptr, prop->value.value);
        rc = prop->value.data.len + prop->value.value.len + 4; /* include length fields */
        break;
    }
  }
  return rc + 1; /* include identifier byte */
}


int MQTTProperties_write(char** pptr, const MQTTProperties* properties)
{
  int rc = -1;
  int i = 0, len = 0;

  /* write the entire property list length first */
  if (properties == NULL)
  {
	*pptr += MQTTPacket_encode(*pptr, 0);
	rc = 1;
  }
  else
  {
    *pptr += MQTTPacket_encode(*pptr, properties->length);
    len = rc = 1;
    for (i = 0; i < properties->count; ++i)
    {
      rc = MQTTProperty_write(pptr, &properties->array[i]);
      if (rc < 0)
        break;
      else
        len += rc;
    }
    if (rc >= 0)
      rc = len;
  }
  return rc;
}


/**
 * Reads one property.
 * @param prop where it goes; what it holds on the heap is the caller's only on success
 * @param pptr the reading place, moved behind the property
 * @param enddata the end of the properties, not to be read beyond
 * @return the length of the property on the wire, or -1: it is malformed, or there is no memory
 */
int MQTTProperty_read(MQTTProperty* prop, char** pptr, char* enddata)
{
  int type = -1,
    len = -1;

  memset(prop, 0, sizeof(MQTTProperty));
  if (enddata - (*pptr) < 1)
    return -1;
  prop->identifier = readChar(pptr);
  type = MQTTProperty_getType(prop->identifier);
  switch (type)
  {
    case MQTTPROPERTY_TYPE_BYTE:
      if (enddata - (*pptr) < 1)
        break;
      prop->value.byte = readChar(pptr);
      len = 1;
      break;
    case MQTTPROPERTY_TYPE_TWO_BYTE_INTEGER:
      if (enddata - (*pptr) < 2)
        break;
      prop->value.integer2 = readInt(pptr);
      len = 2;
      break;
    case MQTTPROPERTY_TYPE_FOUR_BYTE_INTEGER:
      if (enddata - (*pptr) < 4)
        break;
      prop->value.integer4 = readInt4(pptr);
      len = 4;
      break;
    case MQTTPROPERTY_TYPE_VARIABLE_BYTE_INTEGER:
      len = MQTTPacket_decodeBuf(pptr, enddata, &prop->value.integer4);
      break;
    case MQTTPROPERTY_TYPE_BINARY_DATA:
    case MQTTPROPERTY_TYPE_UTF_8_ENCODED_STRING:
      if ((len = MQTTProperty_readString(&prop->value.data, pptr, enddata, type != MQTTPROPERTY_TYPE_BINARY_DATA)) == -1)
        break;
      if ((prop->value.data.data = datadup(&prop->value.data)) == NULL)
        len = -1;
      break;
    case MQTTPROPERTY_TYPE_UTF_8_STRING_PAIR:
    {
      int valuelen = -1;

      if ((len = MQTTProperty_readString(&prop->value.data, pptr, enddata, 1)) == -1)
        break;
      if ((valuelen = MQTTProperty_readString(&prop->value.value, pptr, enddata, 1)) == -1)
      {
        len = -1;
        break;
      }
      len += valuelen;
      if ((prop->value.data.data = datadup(&prop->value.data)) == NULL)
      {
        len = -1;
        break;
      }
      if ((prop->value.value.data = datadup(&prop->value.value)) == NULL)
      {
        free(prop->value.data.data);
        len = -1;
      }
      break;
    }
  }
  return (len == -1) ? -1 : len + 1; /* 1 byte for identifier */
}


/**
 * Reads the properties of a packet.
 * @param properties an empty structure; it is empty again after an error
 * @param pptr the reading place, moved behind the properties
 * @param enddata the end of the packet, not to be read beyond
 * @return 1: read; 0: malformed; or PAHO_MEMORY_ERROR
 */
int MQTTProperties_read(MQTTProperties* properties, char** pptr, char* enddata)
{
  int rc = 0;
  unsigned int length = 0;
  char* end = NULL;

  FUNC_ENTRY;
  /* we assume an initialized properties structure */
  if (MQTTPacket_decodeBuf(pptr, enddata, &length) < 0 || length > (size_t)(enddata - (*pptr)))
    goto exit;
  properties->length = length;
  end = *pptr + length;
  while (*pptr < end)
  {
    if (properties->count == MQTTPROPERTIES_MAX)
      goto exit;
    if (properties->count == properties->max_count)
    {
      int max_count = (properties->max_count == 0) ? 10 : properties->max_count * 2;
      void* newPtr = realloc(properties->array, sizeof(MQTTProperty) * max_count);

      if (newPtr == NULL)
      {
        rc = PAHO_MEMORY_ERROR;
        goto exit;
      }
      properties->array = newPtr;
      properties->max_count = max_count;
    }
    if (MQTTProperty_read(&properties->array[properties->count], pptr, end) < 0)
      goto exit;
    properties->count++;
  }
  rc = 1; /* data read successfully */

exit:
  if (rc != 1)
    MQTTProperties_free(properties);
  FUNC_EXIT_RC(rc);
  return rc;
}


/* What a server may send: the packets with this property, by their types as bits, and whether it may be repeated
 * (MQTT 5, table 2-4). */
#define IN(type) (1 << (type))
static const struct
{
  enum MQTTPropertyCodes name;
  unsigned int packets;
  int repeats;
} fromServer[] =
{
  {MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR, IN(PUBLISH), 0},
  {MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL, IN(PUBLISH), 0},
  {MQTTPROPERTY_CODE_CONTENT_TYPE, IN(PUBLISH), 0},
  {MQTTPROPERTY_CODE_RESPONSE_TOPIC, IN(PUBLISH), 0},
  {MQTTPROPERTY_CODE_CORRELATION_DATA, IN(PUBLISH), 0},
  {MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER, IN(PUBLISH), 1},
  {MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, IN(CONNACK), 0},
  {MQTTPROPERTY_CODE_ASSIGNED_CLIENT_IDENTIFIER, IN(CONNACK), 0},
  {MQTTPROPERTY_CODE_SERVER_KEEP_ALIVE, IN(CONNACK), 0},
  {MQTTPROPERTY_CODE_AUTHENTICATION_METHOD, IN(CONNACK) | IN(AUTH), 0},
  {MQTTPROPERTY_CODE_AUTHENTICATION_DATA, IN(CONNACK) | IN(AUTH), 0},
  {MQTTPROPERTY_CODE_RESPONSE_INFORMATION, IN(CONNACK), 0},
  {MQTTPROPERTY_CODE_SERVER_REFERENCE, IN(CONNACK) | IN(DISCONNECT), 0},
  {MQTTPROPERTY_CODE_REASON_STRING, IN(CONNACK) | IN(PUBACK) | IN(PUBREC) | IN(PUBREL) | IN(PUBCOMP) | IN(SUBACK) |
      IN(UNSUBACK) | IN(DISCONNECT) | IN(AUTH), 0},
  {MQTTPROPERTY_CODE_RECEIVE_MAXIMUM, IN(CONNACK), 0},
  {MQTTPROPERTY_CODE_TOPIC_ALIAS_MAXIMUM, IN(CONNACK), 0},
  {MQTTPROPERTY_CODE_TOPIC_ALIAS, IN(PUBLISH), 0},
  {MQTTPROPERTY_CODE_MAXIMUM_QOS, IN(CONNACK), 0},
  {MQTTPROPERTY_CODE_RETAIN_AVAILABLE, IN(CONNACK), 0},
  {MQTTPROPERTY_CODE_USER_PROPERTY, ~0u, 1},
  {MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE, IN(CONNACK), 0},
  {MQTTPROPERTY_CODE_WILDCARD_SUBSCRIPTION_AVAILABLE, IN(CONNACK), 0},
  {MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIERS_AVAILABLE, IN(CONNACK), 0},
  {MQTTPROPERTY_CODE_SHARED_SUBSCRIPTION_AVAILABLE, IN(CONNACK), 0}
};


/* Whether a number is one that the property allows (MQTT 5, sections 3.2.2.3 and 3.3.2.3). */
static int MQTTProperty_isAllowed(const MQTTProperty* prop)
{
  switch ((int)prop->identifier)
  {
    case MQTTPROPERTY_CODE_RECEIVE_MAXIMUM:
    case MQTTPROPERTY_CODE_TOPIC_ALIAS:
      return prop->value.integer2 != 0;
    case MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE:
    case MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER:
      return prop->value.integer4 != 0;
    default:
      /* all properties of one byte are 0 or 1 */
      return MQTTProperty_getType(prop->identifier) != MQTTPROPERTY_TYPE_BYTE || prop->value.byte <= 1;
  }
}


int MQTTProperties_mayFollow(const MQTTProperties* props, int packetType)
{
  int i = 0, j = 0;
  unsigned int seen = 0;

  for (i = 0; i < props->count; ++i)
  {
    for (j = 0; j < ARRAY_SIZE(fromServer); ++j)
      if (fromServer[j].name == props->array[i].identifier)
        break;
    if (j == ARRAY_SIZE(fromServer) || (fromServer[j].packets & IN(packetType)) == 0)
      return 0;
    if ((seen & (1u << j)) != 0 && !fromServer[j].repeats)
      return 0;
    seen |= 1u << j;
    if (!MQTTProperty_isAllowed(&props->array[i]))
      return 0;
  }
  return 1;
}

struct {
	enum MQTTPropertyCodes value;
	const char* name;
} nameToString[] =
{
  {MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR, "PAYLOAD_FORMAT_INDICATOR"},
  {MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL, "MESSAGE_EXPIRY_INTERVAL"},
  {MQTTPROPERTY_CODE_CONTENT_TYPE, "CONTENT_TYPE"},
  {MQTTPROPERTY_CODE_RESPONSE_TOPIC, "RESPONSE_TOPIC"},
  {MQTTPROPERTY_CODE_CORRELATION_DATA, "CORRELATION_DATA"},
  {MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER, "SUBSCRIPTION_IDENTIFIER"},
  {MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, "SESSION_EXPIRY_INTERVAL"},
  {MQTTPROPERTY_CODE_ASSIGNED_CLIENT_IDENTIFIER, "ASSIGNED_CLIENT_IDENTIFIER"},
  {MQTTPROPERTY_CODE_SERVER_KEEP_ALIVE, "SERVER_KEEP_ALIVE"},
  {MQTTPROPERTY_CODE_AUTHENTICATION_METHOD, "AUTHENTICATION_METHOD"},
  {MQTTPROPERTY_CODE_AUTHENTICATION_DATA, "AUTHENTICATION_DATA"},
  {MQTTPROPERTY_CODE_REQUEST_PROBLEM_INFORMATION, "REQUEST_PROBLEM_INFORMATION"},
  {MQTTPROPERTY_CODE_WILL_DELAY_INTERVAL, "WILL_DELAY_INTERVAL"},
  {MQTTPROPERTY_CODE_REQUEST_RESPONSE_INFORMATION, "REQUEST_RESPONSE_INFORMATION"},
  {MQTTPROPERTY_CODE_RESPONSE_INFORMATION, "RESPONSE_INFORMATION"},
  {MQTTPROPERTY_CODE_SERVER_REFERENCE, "SERVER_REFERENCE"},
  {MQTTPROPERTY_CODE_REASON_STRING, "REASON_STRING"},
  {MQTTPROPERTY_CODE_RECEIVE_MAXIMUM, "RECEIVE_MAXIMUM"},
  {MQTTPROPERTY_CODE_TOPIC_ALIAS_MAXIMUM, "TOPIC_ALIAS_MAXIMUM"},
  {MQTTPROPERTY_CODE_TOPIC_ALIAS, "TOPIC_ALIAS"},
  {MQTTPROPERTY_CODE_MAXIMUM_QOS, "MAXIMUM_QOS"},
  {MQTTPROPERTY_CODE_RETAIN_AVAILABLE, "RETAIN_AVAILABLE"},
  {MQTTPROPERTY_CODE_USER_PROPERTY, "USER_PROPERTY"},
  {MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE, "MAXIMUM_PACKET_SIZE"},
  {MQTTPROPERTY_CODE_WILDCARD_SUBSCRIPTION_AVAILABLE, "WILDCARD_SUBSCRIPTION_AVAILABLE"},
  {MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIERS_AVAILABLE, "SUBSCRIPTION_IDENTIFIERS_AVAILABLE"},
  {MQTTPROPERTY_CODE_SHARED_SUBSCRIPTION_AVAILABLE, "SHARED_SUBSCRIPTION_AVAILABLE"}
};

const char* MQTTPropertyName(enum MQTTPropertyCodes value)
{
  int i = 0;
  const char* result = NULL;

  for (i = 0; i < ARRAY_SIZE(nameToString); ++i)
  {
    if (nameToString[i].value == value)
    {
    	  result = nameToString[i].name;
    	  break;
    }
  }
  return result;
}


void MQTTProperties_free(MQTTProperties* props)
{
  int i = 0;

  FUNC_ENTRY;
  if (props == NULL)
    goto exit;
  for (i = 0; i < props->count; ++i)
  {
    int id = props->array[i].identifier;
    int type = MQTTProperty_getType(id);

    switch (type)
    {
    case MQTTPROPERTY_TYPE_BINARY_DATA:
    	case MQTTPROPERTY_TYPE_UTF_8_ENCODED_STRING:
    	case MQTTPROPERTY_TYPE_UTF_8_STRING_PAIR:
    	  free(props->array[i].value.data.data);
    	  if (type == MQTTPROPERTY_TYPE_UTF_8_STRING_PAIR)
    	    free(props->array[i].value.value.data);
	  break;
    }
  }
  if (props->array)
    free(props->array);
  memset(props, '\0', sizeof(MQTTProperties)); /* zero all fields */
exit:
  FUNC_EXIT;
}


MQTTProperties MQTTProperties_copy(const MQTTProperties* props)
{
  int i = 0;
  MQTTProperties result = MQTTProperties_initializer;

  FUNC_ENTRY;
  for (i = 0; props != NULL && i < props->count; ++i)
  {
	int rc = 0;

	if ((rc = MQTTProperties_add(&result, &props->array[i])) != 0)
		Log(LOG_ERROR, -1, "Error from MQTTProperties add %d", rc);
  }

  FUNC_EXIT;
  return result;
}


int MQTTProperties_hasProperty(const MQTTProperties *props, enum MQTTPropertyCodes propid)
{
	int i = 0;
	int found = 0;

	for (i = 0; props != NULL && i < props->count; ++i)
	{
		if (propid == props->array[i].identifier)
		{
			found = 1;
			break;
		}
	}
	return found;
}


int MQTTProperties_propertyCount(const MQTTProperties *props, enum MQTTPropertyCodes propid)
{
	int i = 0;
	int count = 0;

	for (i = 0; props != NULL && i < props->count; ++i)
	{
		if (propid == props->array[i].identifier)
			count++;
	}
	return count;
}


int64_t MQTTProperties_getNumericValueAt(const MQTTProperties *props, enum MQTTPropertyCodes propid, int index)
{
	int i = 0;
	int64_t rc = -9999999;
	int cur_index = 0;

	for (i = 0; props != NULL && i < props->count; ++i)
	{
		int id = props->array[i].identifier;

		if (id == propid)
		{
			if (cur_index < index)
			{
				cur_index++;
				continue;
			}
			switch (MQTTProperty_getType(id))
			{
			case MQTTPROPERTY_TYPE_BYTE:
				rc = props->array[i].value.byte;
				break;
			case MQTTPROPERTY_TYPE_TWO_BYTE_INTEGER:
				rc = props->array[i].value.integer2;
				break;
			case MQTTPROPERTY_TYPE_FOUR_BYTE_INTEGER:
			case MQTTPROPERTY_TYPE_VARIABLE_BYTE_INTEGER:
				rc = props->array[i].value.integer4;
				break;
			default:
				rc = -999999;
				break;
			}
			break;
		}
	}
	return rc;
}


int64_t MQTTProperties_getNumericValue(const MQTTProperties *props, enum MQTTPropertyCodes propid)
{
	return MQTTProperties_getNumericValueAt(props, propid, 0);
}


MQTTProperty* MQTTProperties_getPropertyAt(const MQTTProperties *props, enum MQTTPropertyCodes propid, int index)
{
	int i = 0;
	MQTTProperty* result = NULL;
	int cur_index = 0;

	for (i = 0; props != 0 && i < props->count; ++i)
	{
		int id = props->array[i].identifier;

		if (id == propid)
		{
			if (cur_index == index)
			{
				result = &props->array[i];
				break;
			}
			else
				cur_index++;
		}
	}
	return result;
}


MQTTProperty* MQTTProperties_getProperty(const MQTTProperties *props, enum MQTTPropertyCodes propid)
{
	return MQTTProperties_getPropertyAt(props, propid, 0);
}
