// A small EST and CMC client on Bouncy Castle: one operation a run, what it got in files.
// Arguments: operation, host:port, label ("-" for none), file of the root (PEM), folder, user, password, subject.

import java.io.ByteArrayInputStream;
import java.net.Socket;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.CertificateFactory;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.X509TrustManager;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.DERSet;
import org.bouncycastle.asn1.DEROctetString;
import org.bouncycastle.asn1.cmc.BodyPartID;
import org.bouncycastle.asn1.cmc.CMCObjectIdentifiers;
import org.bouncycastle.asn1.cmc.CMCStatusInfoV2;
import org.bouncycastle.asn1.cmc.CertificationRequest;
import org.bouncycastle.asn1.cmc.OtherMsg;
import org.bouncycastle.asn1.cmc.PKIData;
import org.bouncycastle.asn1.cmc.PKIResponse;
import org.bouncycastle.asn1.cmc.TaggedAttribute;
import org.bouncycastle.asn1.cmc.TaggedCertificationRequest;
import org.bouncycastle.asn1.cmc.TaggedContentInfo;
import org.bouncycastle.asn1.cmc.TaggedRequest;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.CMSSignedDataGenerator;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.jcajce.JcaSignerInfoGeneratorBuilder;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.est.CACertsResponse;
import org.bouncycastle.est.CSRRequestResponse;
import org.bouncycastle.est.ESTAuth;
import org.bouncycastle.est.ESTException;
import org.bouncycastle.est.ESTService;
import org.bouncycastle.est.EnrollmentResponse;
import org.bouncycastle.est.jcajce.ChannelBindingProvider;
import org.bouncycastle.est.jcajce.JcaHttpAuthBuilder;
import org.bouncycastle.est.jcajce.JcaJceUtils;
import org.bouncycastle.est.jcajce.JsseESTServiceBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.jsse.BCSSLSocket;
import org.bouncycastle.jsse.provider.BouncyCastleJsseProvider;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;
import org.bouncycastle.pkcs.PKCS10CertificationRequestBuilder;
import org.bouncycastle.pkcs.jcajce.JcaPKCS10CertificationRequestBuilder;

public class EstClient {
    static Path folder;
    static X509TrustManager[] trusted;

    public static void main(String[] args) throws Exception {
        try {
            run(args);
        } catch (ESTException refusal) {
            System.out.println("refused " + refusal.getStatusCode());
        }
    }

    static void run(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        String operation = args[0], server = args[1], label = args[2], user = args[5], subject = args[7];
        char[] password = args[6].toCharArray();
        folder = Path.of(args[4]);
        X509Certificate root = certificate(Files.readAllBytes(Path.of(args[3])));
        trusted = JcaJceUtils.getCertPathTrustManager(Collections.singleton(new TrustAnchor(root, null)), null);
        JsseESTServiceBuilder builder = new JsseESTServiceBuilder(server, trusted);
        builder.withTimeout(20000);
        if (!label.equals("-")) {
            builder.withLabel(label);
        }
        if (operation.equals("simplereenroll")) {
            builder.withKeyManagers(held().getKeyManagers());
        }
        if (operation.equals("linked")) {
            // Java's own TLS tells of no channel binding; Bouncy Castle has none of TLS 1.3. After the 401 it
            // would resume the session, on which tls-unique does not bind.
            System.setProperty("org.bouncycastle.jsse.client.enableSessionResumption", "false");
            builder.withProvider(new BouncyCastleJsseProvider());
            builder.withTLSVersion("TLSv1.2");
            builder.withChannelBindingProvider(new ChannelBindingProvider() {
                public boolean canAccessChannelBinding(Socket socket) {
                    return socket instanceof BCSSLSocket;
                }

                public byte[] getChannelBinding(Socket socket, String binding) {
                    return ((BCSSLSocket) socket).getConnection().getChannelBinding(binding);
                }
            });
        }
        ESTService service = builder.build();
        ESTAuth auth = user.isEmpty() ? null : new JcaHttpAuthBuilder("pkiserver", user, password).build();
        switch (operation) {
            case "cacerts" -> {
                CACertsResponse response = service.getCACerts();
                for (X509CertificateHolder one : ESTService.storeToArray(response.getCertificateStore())) {
                    System.out.println(one.getSubject());
                }
            }
            case "csrattrs" -> {
                CSRRequestResponse response = service.getCSRAttributes();
                if (response.hasAttributesResponse()) {
                    for (ASN1ObjectIdentifier one : response.getAttributesResponse().getRequirements()) {
                        System.out.println(one);
                    }
                }
            }
            case "simpleenroll", "simplereenroll" -> {
                KeyPair pair = newKey();
                boolean again = operation.equals("simplereenroll");
                EnrollmentResponse response = service.simpleEnroll(again, request(subject, pair), again ? null : auth);
                save(pair.getPrivate().getEncoded(), taken(service, response));
            }
            case "linked" -> { // with tls-unique in the challengePassword
                KeyPair pair = newKey();
                ContentSigner signer = new JcaContentSignerBuilder("SHA256withECDSA").build(pair.getPrivate());
                PKCS10CertificationRequestBuilder unsigned =
                    new JcaPKCS10CertificationRequestBuilder(new X500Name(subject), pair.getPublic());
                save(pair.getPrivate().getEncoded(), service.simpleEnrollPoP(false, unsigned, signer, auth));
            }
            case "serverkeygen" -> {
                EnrollmentResponse response =
                    service.simpleEnrollWithServersideCreation(request(subject, newKey()), auth);
                save(response.getPrivateKeyInfo().getEncoded(), response);
            }
            case "fullcmc" -> fullCMC("https://" + server + "/.well-known/est/fullcmc", subject);
            default -> throw new IllegalArgumentException(operation);
        }
    }

    // Sends a request that waits for approval again and again, not before the time that it was told.
    static EnrollmentResponse taken(ESTService service, EnrollmentResponse response) throws Exception {
        while (!response.isCompleted()) {
            System.out.println("waits");
            Thread.sleep(Math.max(0, response.getNotBefore() - System.currentTimeMillis()));
            response = service.simpleEnroll(response);
        }
        return response;
    }

    static KeyPair newKey() throws Exception {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
        generator.initialize(new ECGenParameterSpec("secp256r1"));
        return generator.generateKeyPair();
    }

    static PKCS10CertificationRequest request(String subject, KeyPair pair) throws Exception {
        ContentSigner signer = new JcaContentSignerBuilder("SHA256withECDSA").build(pair.getPrivate());
        return new JcaPKCS10CertificationRequestBuilder(new X500Name(subject), pair.getPublic()).build(signer);
    }

    static void save(byte[] key, EnrollmentResponse response) throws Exception {
        X509CertificateHolder[] found = ESTService.storeToArray(response.getStore());
        Files.write(folder.resolve("key.der"), key);
        Files.write(folder.resolve("certificate.der"), found[0].getEncoded());
        System.out.println(found[0].getSubject());
    }

    static X509Certificate certificate(byte[] encoded) throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        return (X509Certificate) factory.generateCertificate(new ByteArrayInputStream(encoded));
    }

    static PrivateKey heldKey() throws Exception {
        byte[] key = Files.readAllBytes(folder.resolve("key.der"));
        return KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(key));
    }

    static X509Certificate heldCertificate() throws Exception {
        return certificate(Files.readAllBytes(folder.resolve("certificate.der")));
    }

    static KeyManagerFactory held() throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        store.setKeyEntry("held", heldKey(), new char[0], new X509Certificate[] {heldCertificate()});
        KeyManagerFactory factory = KeyManagerFactory.getInstance("SunX509");
        factory.init(store, new char[0]);
        return factory;
    }

    // A rekey, signed with the held certificate; prints the status and the body parts that it is of.
    static void fullCMC(String url, String subject) throws Exception {
        KeyPair pair = newKey();
        CertificationRequest csr = CertificationRequest.getInstance(request(subject, pair).getEncoded());
        TaggedAttribute nonce = new TaggedAttribute(
            new BodyPartID(9), CMCObjectIdentifiers.id_cmc_senderNonce, new DERSet(new DEROctetString(new byte[16])));
        PKIData data = new PKIData(
            new TaggedAttribute[] {nonce},
            new TaggedRequest[] {new TaggedRequest(new TaggedCertificationRequest(new BodyPartID(1), csr))},
            new TaggedContentInfo[0],
            new OtherMsg[0]);
        CMSSignedDataGenerator generator = new CMSSignedDataGenerator();
        ContentSigner signer = new JcaContentSignerBuilder("SHA256withECDSA").build(heldKey());
        generator.addSignerInfoGenerator(
            new JcaSignerInfoGeneratorBuilder(new JcaDigestCalculatorProviderBuilder().build())
                .build(signer, heldCertificate()));
        generator.addCertificates(new JcaCertStore(List.of(heldCertificate())));
        CMSProcessableByteArray content =
            new CMSProcessableByteArray(CMCObjectIdentifiers.id_cct_PKIData, data.getEncoded());
        byte[] message = generator.generate(content, true).getEncoded();

        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trusted, null);
        HttpsURLConnection connection = (HttpsURLConnection) new URL(url).openConnection();
        connection.setSSLSocketFactory(context.getSocketFactory());
        connection.setDoOutput(true);
        connection.setRequestProperty("Content-Type", "application/pkcs7-mime; smime-type=CMC-request");
        connection.getOutputStream().write(Base64.getMimeEncoder().encode(message));
        boolean good = connection.getResponseCode() == 200;
        byte[] body = (good ? connection.getInputStream() : connection.getErrorStream()).readAllBytes();
        CMSSignedData answer = new CMSSignedData(Base64.getMimeDecoder().decode(body));
        for (SignerInformation one : answer.getSignerInfos().getSigners()) {
            X509CertificateHolder by =
                (X509CertificateHolder) answer.getCertificates().getMatches(one.getSID()).iterator().next();
            if (!one.verify(new JcaSimpleSignerInfoVerifierBuilder().build(by))) {
                throw new SecurityException("the signature of the answer does not verify");
            }
        }
        PKIResponse response = PKIResponse.getInstance(answer.getSignedContent().getContent());
        response.getControlSequence().forEach(one -> {
            TaggedAttribute control = TaggedAttribute.getInstance(one);
            if (control.getAttrType().equals(CMCObjectIdentifiers.id_cmc_statusInfoV2)) {
                CMCStatusInfoV2 status = CMCStatusInfoV2.getInstance(control.getAttrValues().getObjectAt(0));
                System.out.println("status " + status.getcMCStatus().toASN1Primitive() + " of " + status.getBodyList()[0].getID());
            }
        });
        for (X509CertificateHolder one : answer.getCertificates().getMatches(null)) {
            if (java.util.Arrays.equals(one.getSubjectPublicKeyInfo().getEncoded(), pair.getPublic().getEncoded())) {
                Files.write(folder.resolve("key.der"), pair.getPrivate().getEncoded());
                Files.write(folder.resolve("certificate.der"), one.getEncoded());
            }
        }
    }
}
