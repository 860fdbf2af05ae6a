package contacts

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"mime/multipart"
	"net/textproto"
	"strconv"
	"strings"
)

// formField is one field of the multipart form beside the file.
type formField struct {
	name, value string
}

// form writes the multipart body. Its boundary is derived from the content, so
// that the same load always gives the same bytes.
func (l Load) form() (body []byte, contentType string, err error) {
	file := l.csv()
	fields := l.fields()
	var out bytes.Buffer
	form := multipart.NewWriter(&out)
	if err := form.SetBoundary(boundary(file, fields)); err != nil {
		return nil, "", err
	}
	part, err := form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="file"; filename="contacts.csv"`},
		"Content-Type":        {"text/csv; charset=UTF-8"},
	})
	if err != nil {
		return nil, "", err
	}
	if _, err := part.Write(file); err != nil {
		return nil, "", err
	}
	for _, f := range fields {
		if err := form.WriteField(f.name, f.value); err != nil {
			return nil, "", err
		}
	}
	if err := form.Close(); err != nil {
		return nil, "", err
	}
	return out.Bytes(), form.FormDataContentType(), nil
}

func (l Load) fields() []formField {
	fields := []formField{
		{"separator", ","},
		{"delimiter", `"`},
		{"includeHeaders", "false"},
		{"operationType", cmp.Or(l.OperationType, DefaultOperation)},
		{"encodingType", "UTF-8"},
	}
	if l.KeyField != "" {
		fields = append(fields, formField{"keyField", l.KeyField})
	}
	fields = append(fields, formField{"fieldsCode", strings.Join(l.FieldsCode, ";")})
	if l.Strict != nil {
		fields = append(fields, formField{"strict", strconv.FormatBool(*l.Strict)})
	}
	return fields
}

// boundary is a digest of the content, which therefore cannot contain it.
func boundary(file []byte, fields []formField) string {
	digest := sha256.New()
	digest.Write(file)
	for _, f := range fields {
		digest.Write([]byte("\x00" + f.name + "\x00" + f.value))
	}
	return "errand-" + hex.EncodeToString(digest.Sum(nil)[:24])
}

// csv writes the rows with every cell quoted (RFC 4180), so that commas, quotes,
// line ends, spaces and empty cells survive.
func (l Load) csv() []byte {
	var out bytes.Buffer
	for _, row := range l.Rows {
		for i, cell := range row {
			if i > 0 {
				out.WriteByte(',')
			}
			out.WriteString(`"` + strings.ReplaceAll(cell, `"`, `""`) + `"`)
		}
		out.WriteString("\r\n")
	}
	return out.Bytes()
}
