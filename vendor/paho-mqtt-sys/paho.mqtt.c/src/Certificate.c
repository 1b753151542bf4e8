/* packhorse: looks at certificates and keys before they are needed. */

#if defined(OPENSSL)

#include <stdio.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "Certificate.h"

static void Certificate_report(CertificateReport* report, int verdict, int number)
{
	unsigned long error = ERR_peek_last_error();
	const char* reason = error ? ERR_reason_error_string(error) : NULL;

	report->verdict = verdict;
	report->number = number;
	snprintf(report->text, sizeof(report->text), "%s", reason ? reason : "");
}


/* Whether a certificate is out of its time, which is reported. */
static int Certificate_isUntimely(X509* certificate, int number, CertificateReport* report)
{
	const ASN1_TIME* end = X509_get0_notAfter(certificate);
	const ASN1_TIME* start = X509_get0_notBefore(certificate);
	int has_expired = X509_cmp_current_time(end) < 0;
	struct tm time;

	if (!has_expired && X509_cmp_current_time(start) <= 0)
		return 0;
	Certificate_report(report, has_expired ? CERTIFICATE_EXPIRED : CERTIFICATE_NOT_YET, number);
	if (ASN1_TIME_to_tm(has_expired ? end : start, &time) == 1)
		strftime(report->text, sizeof(report->text), "%Y-%m-%dT%H:%M:%SZ", &time);
	return 1;
}


/* Authorities: the first one that is out of its time. */
static void Certificate_checkAuthorities(STACK_OF(X509)* certificates, CertificateReport* report)
{
	int i;

	for (i = 0; i < sk_X509_num(certificates); ++i)
	{
		if (Certificate_isUntimely(sk_X509_value(certificates, i), i + 1, report))
			return;
	}
}


/* Nobody is there to type a password. */
static int Certificate_noPassword(char* buf, int size, int rwflag, void* userdata)
{
	return -1;
}


/* Reads all certificates, as TLS does; NULL: one of them is broken, which is reported. */
static STACK_OF(X509)* Certificate_read(const char* pem, size_t length, CertificateReport* report)
{
	BIO* bio = BIO_new_mem_buf(pem, (int)length);
	STACK_OF(X509)* certificates = sk_X509_new_null();
	X509* certificate;

	while (bio && certificates && (certificate = PEM_read_bio_X509_AUX(bio, NULL, Certificate_noPassword, NULL)) != NULL)
	{
		if (sk_X509_push(certificates, certificate) == 0)
			X509_free(certificate);
	}
	BIO_free(bio);
	if (certificates == NULL || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE || sk_X509_num(certificates) == 0)
	{
		Certificate_report(report, CERTIFICATE_UNREADABLE, certificates ? sk_X509_num(certificates) + 1 : 0);
		sk_X509_pop_free(certificates, X509_free);
		return NULL;
	}
	ERR_clear_error();
	return certificates;
}


/* Which of the certificates is the key's, counted from 1; 0: none. */
static int Certificate_ofKey(STACK_OF(X509)* certificates, EVP_PKEY* key)
{
	int i;

	for (i = 0; i < sk_X509_num(certificates); ++i)
	{
		if (X509_check_private_key(sk_X509_value(certificates, i), key) == 1)
			return i + 1;
	}
	ERR_clear_error();
	return 0;
}


/* Which certificate is not of the issuer of the one before it, counted from 1; 0: none. */
static int Certificate_disorder(STACK_OF(X509)* certificates)
{
	int i;

	for (i = 1; i < sk_X509_num(certificates); ++i)
	{
		X509* before = sk_X509_value(certificates, i - 1);

		if (X509_NAME_cmp(X509_get_issuer_name(before), X509_get_subject_name(sk_X509_value(certificates, i))) != 0)
			return i + 1;
	}
	return 0;
}


/* Whether TLS takes them: it has rules of its own, as for the length of a key. */
static int Certificate_isTaken(X509* certificate, EVP_PKEY* key)
{
	SSL_CTX* ctx = SSL_CTX_new(TLS_client_method());
	int is_taken = ctx != NULL && SSL_CTX_use_certificate(ctx, certificate) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1;

	SSL_CTX_free(ctx);
	return is_taken;
}


static void Certificate_checkKey(STACK_OF(X509)* certificates, EVP_PKEY* key, CertificateReport* report)
{
	int number = Certificate_ofKey(certificates, key);
	X509* first = sk_X509_value(certificates, 0);

	if (number == 0)
		Certificate_report(report, CERTIFICATE_OTHER_KEY, 0);
	else if (number > 1)
		Certificate_report(report, CERTIFICATE_NOT_FIRST, number);
	else if (!Certificate_isTaken(first, key))
		Certificate_report(report, CERTIFICATE_REFUSED, 0);
	else if (Certificate_isUntimely(first, number, report))
		return;
	else if (X509_check_purpose(first, X509_PURPOSE_SSL_CLIENT, 0) != 1)
		Certificate_report(report, CERTIFICATE_NOT_FOR_CLIENTS, 0);
	else if ((number = Certificate_disorder(certificates)) != 0)
		Certificate_report(report, CERTIFICATE_DISORDER, number);
}


void Certificate_check(const char* pem, size_t length, const char* key, size_t key_length, CertificateReport* report)
{
	STACK_OF(X509)* certificates;
	EVP_PKEY* private_key = NULL;
	BIO* bio;

	OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL); /* see SSLSocket_initialize */
	ERR_clear_error();
	report->verdict = CERTIFICATE_GOOD;
	report->number = 0;
	report->text[0] = '\0';
	if ((certificates = Certificate_read(pem, length, report)) == NULL)
		return;
	if (key)
	{
		bio = BIO_new_mem_buf(key, (int)key_length);
		private_key = PEM_read_bio_PrivateKey(bio, NULL, Certificate_noPassword, NULL);
		BIO_free(bio);
		if (private_key)
			Certificate_checkKey(certificates, private_key, report);
		else
			Certificate_report(report, CERTIFICATE_KEY_UNREADABLE, 0);
		EVP_PKEY_free(private_key);
	}
	else
		Certificate_checkAuthorities(certificates, report);
	sk_X509_pop_free(certificates, X509_free);
	ERR_clear_error();
}

#endif
