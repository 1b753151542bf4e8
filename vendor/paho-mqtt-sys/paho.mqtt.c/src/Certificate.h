/* packhorse: looks at certificates and keys before they are needed. */

#if !defined(CERTIFICATE_H)
#define CERTIFICATE_H

#include <stddef.h>

/** all is well */
#define CERTIFICATE_GOOD 0
/** a certificate cannot be read; the text says why */
#define CERTIFICATE_UNREADABLE 1
/** the private key cannot be read; the text says why */
#define CERTIFICATE_KEY_UNREADABLE 2
/** no certificate is the key's */
#define CERTIFICATE_OTHER_KEY 3
/** the key's certificate is not the first one, but has this number */
#define CERTIFICATE_NOT_FIRST 4
/** the certificate of this number is not of the issuer of the one before it */
#define CERTIFICATE_DISORDER 5
/** the key's certificate, or the authority's of this number, has expired; the text says when */
#define CERTIFICATE_EXPIRED 6
/** TLS does not take the certificate or the key; the text says why */
#define CERTIFICATE_REFUSED 7
/** the key's certificate, or the authority's of this number, is not valid yet; the text says from when on it is */
#define CERTIFICATE_NOT_YET 8
/** the key's certificate is not for clients */
#define CERTIFICATE_NOT_FOR_CLIENTS 9

typedef struct
{
	int verdict;
	/** counted from 1; 0: none is meant */
	int number;
	/** OpenSSL's words, or a time */
	char text[128];
} CertificateReport;

/**
 * Looks whether certificates in PEM can be used, with a key in PEM or without one.
 * @param key NULL: none, the certificates are authorities'
 */
void Certificate_check(const char* pem, size_t length, const char* key, size_t key_length, CertificateReport* report);

#endif
