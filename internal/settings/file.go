package settings

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

const (
	fileSuffix  = "_FILE"
	maxFileSize = 64 << 10
)

// fromFile returns the value of a secret whose variable X is unset and whose
// X_FILE names a file; "" without X_FILE.
func fromFile(name string, environ map[string]string) (string, error) {
	path, given := environ[name+fileSuffix]
	if !given {
		return "", nil
	}
	if _, both := environ[name]; both {
		return "", Problem{
			name,
			"is set, and so is " + name + fileSuffix + "; set one of them",
		}
	}
	value, err := readSecret(path)
	if err != nil {
		return "", Problem{name + fileSuffix, err.Error()}
	}
	return value, nil
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", unreadable(err)
	}
	defer func() {
		_ = f.Close()
	}()
	text, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	switch {
	case err != nil:
		return "", unreadable(err)
	case len(text) > maxFileSize:
		return "", fmt.Errorf("the file has more than %d bytes", maxFileSize)
	}
	value := strings.TrimRight(string(text), "\r\n")
	if value == "" {
		return "", errors.New("the file is empty")
	}
	return value, nil
}

// unreadable leaves the path out: the secret itself may have been put there.
func unreadable(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err
	}
	return fmt.Errorf("cannot read the file: %w", err)
}
