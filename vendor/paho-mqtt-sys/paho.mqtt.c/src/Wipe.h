/* Overwrites a secret before its memory is freed. packhorse's; see PATCHES.md. */
#if !defined(WIPE_H)
#define WIPE_H

#include <stddef.h>

/* Through a volatile pointer, for a compiler leaves out what is written to memory that is freed next. */
static inline void Wipe(const void* secret, size_t length)
{
	volatile unsigned char* byte = (volatile unsigned char*)secret;

	if (byte != NULL)
		while (length-- > 0)
			*byte++ = 0;
}

#endif
